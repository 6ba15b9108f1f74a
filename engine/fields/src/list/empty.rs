//! Rows of fields that have the same value for every event, or none. Falco has dropped them, but old rules still name them.

use lanner_plugin::FieldKind::{Bool, String as Text, U64};
use lanner_plugin::Value;

use super::super::argument::Arg;
use super::super::row::{ArgRule, FieldDef};
use super::super::view::View;

use FieldDef as F;

fn none<'a>(_: &View<'a>, _: &Arg) -> Value<'a> {
    Value::None
}

fn zero<'a>(_: &View<'a>, _: &Arg) -> Value<'a> {
    Value::U64(0)
}

#[rustfmt::skip]
pub(super) const EMPTY: &[FieldDef] = &[
    F::new("evt.count.procinfo", U64, "Always 0: no event only tells of a process.", zero).deprecated(),
    F::new("evt.count.threadinfo", U64, "Always 0: no event only tells of a thread.", zero).deprecated(),
    F::new("evt.infra.docker.name", Text, "Always missing: containers do not make events.", none).never().deprecated(),
    F::new("evt.infra.docker.container.id", Text, "Always missing: containers do not make events.", none).never().deprecated(),
    F::new("evt.infra.docker.container.name", Text, "Always missing: containers do not make events.", none).never().deprecated(),
    F::new("evt.infra.docker.container.image", Text, "Always missing: containers do not make events.", none).never().deprecated(),
    F::new("container.healthcheck", Text, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("container.liveness_probe", Text, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("container.readiness_probe", Text, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("proc.is_container_healthcheck", Bool, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("proc.is_container_liveness_probe", Bool, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("proc.is_container_readiness_probe", Bool, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("k8s.ns.id", Text, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("k8s.ns.label", Text, "Always missing, as in Falco.", none).never().deprecated().arg(ArgRule::Key),
    F::new("k8s.ns.labels", Text, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("k8s.rc.name", Text, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("k8s.rc.id", Text, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("k8s.rc.label", Text, "Always missing, as in Falco.", none).never().deprecated().arg(ArgRule::Key),
    F::new("k8s.rc.labels", Text, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("k8s.svc.name", Text, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("k8s.svc.id", Text, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("k8s.svc.label", Text, "Always missing, as in Falco.", none).never().deprecated().arg(ArgRule::Key),
    F::new("k8s.svc.labels", Text, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("k8s.rs.name", Text, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("k8s.rs.id", Text, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("k8s.rs.label", Text, "Always missing, as in Falco.", none).never().deprecated().arg(ArgRule::Key),
    F::new("k8s.rs.labels", Text, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("k8s.deployment.name", Text, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("k8s.deployment.id", Text, "Always missing, as in Falco.", none).never().deprecated(),
    F::new("k8s.deployment.label", Text, "Always missing, as in Falco.", none).never().deprecated().arg(ArgRule::Key),
    F::new("k8s.deployment.labels", Text, "Always missing, as in Falco.", none).never().deprecated(),
];
