//! `lanner drivers`: what each driver can do on this host, its gaps, and what would close them.

use std::process::ExitCode;

use driver_api::error::Chain;
use drivers::Order;
use session::reference::{self, Form};

use super::{Failure, print};
use command_line::DriversArgs;

pub(crate) fn list(args: &DriversArgs) -> Result<ExitCode, Failure> {
    let mut host = drivers::host::try_out(&drivers::host::detect());
    if let Some(file) = &args.btf {
        session::check_btf(file).map_err(|error| Failure::usage(Chain(&error)))?;
    }
    host.btf_file.clone_from(&args.btf);
    let order = Order::named(&args.driver_order).map_err(Failure::usage)?;
    if args.fix && !args.json {
        return print(reference::fixes(&host).as_bytes());
    }
    let form = if args.json { Form::Json } else { Form::Text };
    print(reference::drivers(&host, &order, form).as_bytes())
}
