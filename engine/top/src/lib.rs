//! A live view of events in the terminal. `lanner top` is this library and its arguments.
//!
//! A [`Plan`] is made from a [`Request`] before the source is opened. [`Plan::run`] then feeds the events to the watcher on
//! the thread that opened the source, and draws on another thread. What they share is the model: bounded counters.
//!
//! | file | does |
//! |---|---|
//! | `run` | puts it together: [`Plan`], [`Request`] |
//! | `watcher` | the consumer: filters events, asks the rules, counts |
//! | `model` | what is counted |
//! | `count`, `processes`, `alerts`, `history` | its parts |
//! | `filter` | conditions that the user types |
//! | `pane`, `columns` | the panes: rows in order, and columns |
//! | `app`, `prompt` | what keys do |
//! | `draw` | what is drawn |
//! | `screen`, `keys` | the terminal: [`Screen`], and keys from it |
//! | `cost` | CPU time and memory of lanner itself |
//! | `text` | text of programs, made safe to show |
//! | `error` | what can go wrong |

mod alerts;
mod app;
mod columns;
mod cost;
mod count;
mod draw;
mod error;
mod filter;
mod history;
mod keys;
mod model;
mod pane;
mod processes;
mod prompt;
mod run;
mod screen;
#[cfg(test)]
mod tests;
mod text;
mod watcher;

pub use error::TopError;
pub use filter::FilterError;
pub use run::{Ended, Plan, Request, RuleChoice, Target};
pub use screen::Screen;
