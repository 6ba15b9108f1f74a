//! The maps of the object: typed handles, taken once when the object is loaded.
//!
//! Programs name maps by their descriptors. So every map stays open as long as programs may still be loaded.

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, ProgramArray};
use aya::{Ebpf, Pod};
use driver_api::event::{Abi, Loss};
use driver_api::plan::{
    self, Condition, Multiplexed, Op, Plan, Pointers, PredicateTable, SqeArgs, VariantKey,
};
use driver_api::request::Limits;
use driver_api::selection::Selection;
use driver_ebpf::life::monotonic_ns;

use crate::error::{BpfError, ObjectError};
use crate::layout::{Offsets, Settings};

#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct PlanValue(Plan);

// SAFETY: Plan is FromBytes and IntoBytes: no padding, and every bit pattern is valid.
unsafe impl Pod for PlanValue {}

#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct VariantKeyValue(VariantKey);

// SAFETY: as for PlanValue.
unsafe impl Pod for VariantKeyValue {}

#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct OpValue(Op);

// SAFETY: as for PlanValue.
unsafe impl Pod for OpValue {}

#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct PointersValue(Pointers);

// SAFETY: as for PlanValue.
unsafe impl Pod for PointersValue {}

#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct MultiplexedValue(Multiplexed);

// SAFETY: as for PlanValue.
unsafe impl Pod for MultiplexedValue {}

#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct SqeArgsValue(SqeArgs);

// SAFETY: as for PlanValue.
unsafe impl Pod for SqeArgsValue {}

#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct ConditionValue(Condition);

// SAFETY: as for PlanValue.
unsafe impl Pod for ConditionValue {}

/// Where the plans of the operations of io_uring begin: behind those of both ABIs, and of calls made through others.
const OPERATIONS: u32 = (2 * plan::NUMBERS + plan::MULTIPLEXED) as u32;

/// Maps through which user space controls the programs.
pub(crate) struct ControlMaps {
    settings: Array<MapData, Settings>,
    offsets: Array<MapData, Offsets>,
    plans: Array<MapData, PlanValue>,
    conditions: Array<MapData, ConditionValue>,
    /// How many selections were written.
    selections: u64,
    sqe_args: Array<MapData, SqeArgsValue>,
    multiplexed: HashMap<MapData, u32, MultiplexedValue>,
    interest: Array<MapData, u8>,
    variants: HashMap<MapData, VariantKeyValue, OpValue>,
    /// Two for each structure with pointers, the second one for 32-bit pointers.
    pointers: Array<MapData, PointersValue>,
    /// Thread id to `enum follow`.
    pub(crate) followed: HashMap<MapData, u32, u8>,
    losses: PerCpuArray<MapData, u64>,
    /// The kernel empties an array of programs when its last user closes it.
    pub(crate) tails: ProgramArray<MapData>,
    /// The same for programs at functions: an array holds programs of one type.
    pub(crate) entry_tails: ProgramArray<MapData>,
}

/// Maps through which events leave the kernel.
pub(crate) struct OutputMaps {
    /// The perf event of each CPU.
    pub(crate) events: MapData,
    /// Events that are being written, and the batch of each CPU.
    pub(crate) slots: MapData,
    /// How far the batch of each CPU has been filled.
    pub(crate) marks: MapData,
}

/// Takes all maps out of the object.
pub(crate) fn take_all(ebpf: &mut Ebpf) -> Result<(ControlMaps, OutputMaps), ObjectError> {
    let control = ControlMaps {
        settings: take(ebpf, "settings")?,
        offsets: take(ebpf, "offsets")?,
        plans: take(ebpf, "plans")?,
        conditions: take(ebpf, "conditions")?,
        selections: 0,
        sqe_args: take(ebpf, "sqe_args")?,
        multiplexed: take(ebpf, "multiplexed")?,
        interest: take(ebpf, "interest")?,
        variants: take(ebpf, "variants")?,
        pointers: take(ebpf, "pointers")?,
        followed: take(ebpf, "followed")?,
        losses: take(ebpf, "losses")?,
        tails: take(ebpf, "tails")?,
        entry_tails: take(ebpf, "entry_tails")?,
    };
    let output = OutputMaps {
        events: take_data(ebpf, "events")?,
        slots: take_data(ebpf, "slots")?,
        marks: take_data(ebpf, "marks")?,
    };
    Ok((control, output))
}

/// Takes a map that aya has a type for.
pub(crate) fn take<T: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    map: &'static str,
) -> Result<T, ObjectError> {
    let taken = ebpf.take_map(map).ok_or(ObjectError::NoMap { map })?;
    T::try_from(taken).map_err(|error| ObjectError::OpenMap {
        map,
        source: error.into(),
    })
}

/// Takes a map that is used by its descriptor ([`crate::sys`]).
fn take_data(ebpf: &mut Ebpf, map: &'static str) -> Result<MapData, ObjectError> {
    match ebpf.take_map(map) {
        Some(Map::Array(data) | Map::PerCpuArray(data) | Map::PerfEventArray(data)) => Ok(data),
        _ => Err(ObjectError::NoMap { map }),
    }
}

/// For `map_err`: the map could not be written.
pub(crate) fn unwritten(map: &'static str) -> impl Fn(MapError) -> ObjectError {
    move |error| ObjectError::WriteMap {
        map,
        source: BpfError::from(error),
    }
}

impl ControlMaps {
    /// Writes what the programs must know before they are attached.
    pub(crate) fn configure(
        &mut self,
        settings: Settings,
        offsets: Offsets,
    ) -> Result<(), ObjectError> {
        self.settings
            .set(0, settings, 0)
            .map_err(unwritten("settings"))?;
        self.offsets
            .set(0, offsets, 0)
            .map_err(unwritten("offsets"))
    }

    /// Changes the settings.
    pub(crate) fn set(&mut self, change: impl FnOnce(&mut Settings)) -> Result<(), ObjectError> {
        let mut settings = self.settings.get(&0, 0).map_err(unwritten("settings"))?;
        change(&mut settings);
        self.settings
            .set(0, settings, 0)
            .map_err(unwritten("settings"))
    }

    /// Writes the plans of a selection.
    pub(crate) fn select(
        &mut self,
        selection: &Selection,
        limits: &Limits,
    ) -> Result<(), ObjectError> {
        let selection = &selection.with_multiplexers();
        let mut interest = [0; plan::NUMBERS];
        let mut conditions = PredicateTable::new(self.selections);
        self.selections += 1;
        let abis = [(0, Abi::NATIVE), (plan::NUMBERS, Abi::COMPAT)];
        let plans =
            abis.map(|(first, abi)| (first, plan::array(abi, selection, limits, &mut conditions)));
        for (key, condition) in conditions.entries() {
            self.conditions
                .set(key, ConditionValue(condition), 0)
                .map_err(unwritten("conditions"))?;
        }
        for (first, plans) in plans {
            for (number, plan) in plans.into_iter().enumerate() {
                let key = u32::try_from(first + number).unwrap_or(u32::MAX);
                interest[number] |= plan.flags;
                self.plans
                    .set(key, PlanValue(plan), 0)
                    .map_err(unwritten("plans"))?;
            }
        }
        for (key, plan) in (2 * plan::NUMBERS as u32..).zip(plan::multiplexed(selection, limits)) {
            self.plans
                .set(key, PlanValue(plan), 0)
                .map_err(unwritten("plans"))?;
        }
        for (key, one) in plan::multiplexed_keys() {
            self.multiplexed
                .insert(key, MultiplexedValue(one), 0)
                .map_err(unwritten("multiplexed"))?;
        }
        for (code, (plan, places)) in (0u32..).zip(plan::operations(selection, limits)) {
            self.plans
                .set(OPERATIONS + code, PlanValue(plan), 0)
                .map_err(unwritten("plans"))?;
            self.sqe_args
                .set(code, SqeArgsValue(places), 0)
                .map_err(unwritten("sqe_args"))?;
        }
        for (key, flags) in (0..).zip(interest) {
            self.interest
                .set(key, flags, 0)
                .map_err(unwritten("interest"))?;
        }
        for (key, all) in (0..).zip(plan::pointers(limits).into_iter().flatten()) {
            self.pointers
                .set(key, PointersValue(all), 0)
                .map_err(unwritten("pointers"))?;
        }
        for abi in [Abi::NATIVE, Abi::COMPAT] {
            for (key, op) in plan::variants(abi, limits) {
                self.variants
                    .insert(VariantKeyValue(key), OpValue(op), 0)
                    .map_err(unwritten("variants"))?;
            }
        }
        // calls that were entered before have no times, as their entries or their returns may have been missed
        self.set(|settings| {
            if settings.times_since != 0 {
                settings.times_since = monotonic_ns();
            }
        })
    }

    /// Events that the programs lost so far, by cause.
    pub(crate) fn lost(&self) -> [u64; Loss::ALL.len()] {
        Loss::ALL.map(|cause| self.lost_of(cause))
    }

    /// Events that the programs lost so far by one cause.
    pub(crate) fn lost_of(&self, cause: Loss) -> u64 {
        let values = self.losses.get(&(cause as u32), 0);
        values.map_or(0, |values| values.iter().sum())
    }
}
