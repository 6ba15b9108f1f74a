//! What a rule amounts to, as `lanner rules explain --json` prints it. The rules that run belong to the event path. So the
//! files are read and opened once more, if they are still those that were loaded.

use std::sync::Arc;

use driver_api::error::Chain;
use plugin_host::{PluginError, secrets};
use tokio::sync::Mutex;

use crate::counters::Board;
use crate::error::LoadError;
use crate::reference::{self, Form};
use crate::rule_loader::{RuleLoader, events_for};

/// Opens the rules once more to explain one of them.
#[derive(Debug)]
pub(super) struct Explainer {
    loader: Arc<RuleLoader>,
    /// Opening rules takes a while. So one request at a time does it, even if its client has gone meanwhile.
    turn: Arc<Mutex<()>>,
}

/// Why a rule cannot be explained.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unexplained {
    /// The rules do not have it.
    #[error("there is no such rule")]
    NoRule,
    /// The files are not those that run.
    #[error("the rule files have changed since they were loaded")]
    Changed,
    /// The files cannot be opened.
    #[error("{}", shown(.0))]
    Load(#[source] LoadError),
    /// The plugin cannot explain its rules.
    #[error("{}", shown(.0))]
    Plugin(#[source] PluginError),
    /// The thread that opens the rules has failed.
    #[error("the rules cannot be opened now")]
    Thread,
}

fn shown(error: &(dyn std::error::Error + 'static)) -> String {
    secrets::hide(&Chain(error).to_string()).into_owned()
}

impl Explainer {
    pub(super) fn new(loader: Arc<RuleLoader>) -> Self {
        Self {
            loader,
            turn: Arc::default(),
        }
    }

    /// A JSON document about the rule of this name, which is on the board.
    pub(super) async fn explain(
        &self,
        name: Option<String>,
        board: Arc<Board>,
    ) -> Result<String, Unexplained> {
        let name = name.ok_or(Unexplained::NoRule)?;
        if !board.rules().any(|(rule, _)| rule.name == name) {
            return Err(Unexplained::NoRule);
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let loader = Arc::clone(&self.loader);
        let explained = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            explain(&loader, &name, &board)
        });
        explained.await.map_err(|_| Unexplained::Thread)?
    }
}

fn explain(loader: &Arc<RuleLoader>, name: &str, board: &Board) -> Result<String, Unexplained> {
    let loaded = loader.configuration().map_err(Unexplained::Load)?;
    let config = loaded.config.clone();
    let opened = loader.within(&loaded.config, move |loader| loader.open_again(&config));
    let mut opened = opened.map_err(Unexplained::Load)?;
    if opened.sums != board.rule_sums {
        return Err(Unexplained::Changed);
    }
    let captured = events_for(opened.hosts.iter());
    for host in &mut opened.hosts {
        let Some(at) = host.rules().iter().position(|rule| rule.name == name) else {
            continue;
        };
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        let explanation = host.explain(number).map_err(Unexplained::Plugin)?;
        let rule = &host.rules()[at];
        return Ok(reference::rule(rule, &explanation, &captured, Form::Json));
    }
    Err(Unexplained::Changed)
}
