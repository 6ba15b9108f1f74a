//! Tests of the tables, of captures in every version of the format, and of damaged ones.

mod captures;
mod damage;
mod maker;
mod tables;
mod unknown;
mod written;
