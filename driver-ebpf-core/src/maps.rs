//! The maps that user space shares with the programs (`bpf/maps.h`, `bpf/ring.h`), each with the types of its keys and
//! values. Opening them checks the sizes of these types.

use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, RawFd};

use driver_api::event::{Abi, Loss};
use driver_api::plan::{
    self, Condition, Multiplexed, Op, Plan, Pointers, PredicateTable, SqeArgs, VariantKey, flag,
};
use driver_api::request::Limits;
use driver_api::selection::Selection;
use driver_ebpf::follow::Followed;
use driver_ebpf::life::monotonic_ns;
use driver_ebpf::start::Follow;
use libbpf_rs::{MapCore, MapFlags, MapHandle, Object};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::layout::{RingState, Tail};
use crate::libbpf::LibbpfError;

/// The name of the map of ring states, whose entries are set before loading.
pub(crate) const RINGS: &str = "rings";
/// The name of the map with the bytes of the rings, whose size is set before loading.
pub(crate) const CHUNKS: &str = "chunks";
/// The name of the map with the threads that are followed, whose size is set before loading.
pub(crate) const FOLLOWED: &str = "followed";
/// The name of the map with the times at which calls were entered, whose size is set before loading.
pub(crate) const TIMED: &str = "timed";
/// The name of the map with the settings, which are set before loading.
pub(crate) const SETTINGS: &str = ".rodata.settings";

/// Why a map cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MapError {
    /// The object has no such map.
    #[error("the object of the programs has no map {name}: this build is broken")]
    Missing { name: &'static str },
    /// The object has other types.
    #[error("the map {name} has other types than its users: this build is broken")]
    Types { name: &'static str },
    /// libbpf or the kernel refused.
    #[error("cannot {what}")]
    Refused { what: String, source: LibbpfError },
}

fn refused(what: impl Into<String>) -> impl FnOnce(libbpf_rs::Error) -> MapError {
    let what = what.into();
    move |error| MapError::Refused {
        what,
        source: error.into(),
    }
}

/// A map with keys `K` and values `V`.
#[derive(Debug)]
pub(crate) struct TypedMap<K, V> {
    handle: MapHandle,
    types: PhantomData<fn(K) -> V>,
}

impl<K, V> TypedMap<K, V> {
    fn open(object: &Object, name: &'static str) -> Result<Self, MapError> {
        let handle = open(object, name)?;
        let sizes = (handle.key_size() as usize, handle.value_size() as usize);
        if sizes != (size_of::<K>(), size_of::<V>()) {
            return Err(MapError::Types { name });
        }
        Ok(Self {
            handle,
            types: PhantomData,
        })
    }
}

impl<K: IntoBytes + Immutable, V: IntoBytes + Immutable> TypedMap<K, V> {
    fn set(&self, key: &K, value: &V) -> libbpf_rs::Result<()> {
        self.handle
            .update(key.as_bytes(), value.as_bytes(), MapFlags::ANY)
    }

    /// Adds an entry, unless there is one.
    fn add(&self, key: &K, value: &V) -> libbpf_rs::Result<()> {
        self.handle
            .update(key.as_bytes(), value.as_bytes(), MapFlags::NO_EXIST)
    }

    fn remove(&self, key: &K) -> libbpf_rs::Result<()> {
        self.handle.delete(key.as_bytes())
    }

    /// Writes many entries at once.
    fn set_all(&self, entries: impl IntoIterator<Item = (K, V)>) -> libbpf_rs::Result<()> {
        let (keys, values): (Vec<K>, Vec<V>) = entries.into_iter().unzip();
        let count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        if count == 0 {
            return Ok(());
        }
        self.handle.update_batch(
            keys.as_bytes(),
            values.as_bytes(),
            count,
            MapFlags::ANY,
            MapFlags::ANY,
        )
    }
}

impl<K: FromBytes, V> TypedMap<K, V> {
    fn keys(&self) -> impl Iterator<Item = K> {
        self.handle
            .keys()
            .filter_map(|key| K::read_from_bytes(&key).ok())
    }
}

impl<K, V> AsFd for TypedMap<K, V> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// A map that is used by its descriptor alone.
#[derive(Debug)]
pub(crate) struct RawMap(MapHandle);

impl AsFd for RawMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn open(object: &Object, name: &'static str) -> Result<MapHandle, MapError> {
    let map = object
        .maps()
        .find(|map| map.name() == name)
        .ok_or(MapError::Missing { name })?;
    MapHandle::try_from(&map).map_err(refused(format!("open the map {name}")))
}

/// The maps of a loaded object.
#[derive(Debug)]
pub(crate) struct Maps {
    pub(crate) rings: TypedMap<u32, RingState>,
    /// Keys are numbers of chunks; the size of values depends on the rings'.
    pub(crate) chunks: RawMap,
    pub(crate) wakeup: RawMap,
    /// One value: for each call number, whether its return is captured.
    gate: TypedMap<u32, [u8; plan::NUMBERS]>,
    /// One value: when the calls were selected, on the clock of events.
    selected_at: TypedMap<u32, u64>,
    /// By number; those of 32-bit calls follow those of 64-bit calls, then those of calls made through others, and last
    /// those of the operations of io_uring by code.
    plans: TypedMap<u32, Plan>,
    /// What the arguments of calls must fulfil, by the index in their plans.
    conditions: TypedMap<u32, Condition>,
    /// How many selections were written.
    selections: u64,
    multiplexed: TypedMap<u32, Multiplexed>,
    /// Where the requests of an operation hold its arguments, by code.
    sqe_args: TypedMap<u32, SqeArgs>,
    variants: TypedMap<VariantKey, Op>,
    /// Two for each structure with pointers, the second one for 32-bit pointers.
    pointers: TypedMap<u32, Pointers>,
    /// A [`Follow`] by thread id.
    followed: TypedMap<u32, u8>,
    /// By cause, for each CPU, and behind the causes how many of all are births, execs and ends.
    losses: TypedMap<u32, u64>,
    /// Descriptors of programs, by [`Tail`].
    tails: TypedMap<u32, RawFd>,
    /// The program that makes the events of execs, at 0.
    exec_tails: TypedMap<u32, RawFd>,
}

impl Maps {
    /// Opens the maps.
    ///
    /// # Errors
    ///
    /// The object does not fit this build, or the process can have no more descriptors.
    pub(crate) fn of(object: &Object) -> Result<Self, MapError> {
        Ok(Self {
            rings: TypedMap::open(object, RINGS)?,
            chunks: RawMap(open(object, CHUNKS)?),
            wakeup: RawMap(open(object, "wakeup")?),
            gate: TypedMap::open(object, ".data.gate")?,
            selected_at: TypedMap::open(object, ".data.selected")?,
            plans: TypedMap::open(object, "plans")?,
            conditions: TypedMap::open(object, "conditions")?,
            selections: 0,
            sqe_args: TypedMap::open(object, "sqe_args")?,
            multiplexed: TypedMap::open(object, "multiplexed")?,
            variants: TypedMap::open(object, "variants")?,
            pointers: TypedMap::open(object, "pointers")?,
            followed: TypedMap::open(object, FOLLOWED)?,
            losses: TypedMap::open(object, "losses")?,
            tails: TypedMap::open(object, "tails")?,
            exec_tails: TypedMap::open(object, "exec_tails")?,
        })
    }

    /// Writes the plans of a selection.
    ///
    /// # Errors
    ///
    /// The kernel refuses to change a map.
    pub(crate) fn select(
        &mut self,
        selection: &Selection,
        limits: &Limits,
    ) -> Result<(), MapError> {
        let selection = &selection.with_multiplexers();
        let mut gate = [0u8; plan::NUMBERS];
        let mut plans = Vec::new();
        let mut conditions = PredicateTable::new(self.selections);
        self.selections += 1;
        for (bit, abi) in [(1, Abi::NATIVE), (2, Abi::COMPAT)] {
            let of_abi = plan::array(abi, selection, limits, &mut conditions);
            for (of_call, plan) in gate.iter_mut().zip(of_abi) {
                if plan.flags & (flag::SELECTED | flag::EXEC) != 0 {
                    *of_call |= bit;
                }
                plans.push(plan);
            }
        }
        plans.extend(plan::multiplexed(selection, limits));
        plans.resize(2 * plan::NUMBERS + plan::MULTIPLEXED, Plan::default());
        self.multiplexed
            .set_all(plan::multiplexed_keys())
            .map_err(refused("write the calls that are made through others"))?;
        let (operations, places): (Vec<_>, Vec<_>) =
            plan::operations(selection, limits).into_iter().unzip();
        plans.extend(operations);
        self.sqe_args
            .set_all((0..).zip(places))
            .map_err(refused("write where requests of io_uring hold arguments"))?;
        self.conditions
            .set_all(conditions.entries())
            .map_err(refused("write what arguments must fulfil"))?;
        self.plans
            .set_all((0..).zip(plans))
            .map_err(refused("write the capture plans"))?;
        let abis = [Abi::NATIVE, Abi::COMPAT];
        self.variants
            .set_all(abis.iter().flat_map(|abi| plan::variants(*abi, limits)))
            .map_err(refused("write the operations of variants"))?;
        self.pointers
            .set_all((0..).zip(plan::pointers(limits).into_iter().flatten()))
            .map_err(refused("write the pointers of structures"))?;
        self.gate
            .set(&0, &gate)
            .map_err(refused("open the gate for the selected calls"))?;
        // calls that were entered before have no times, as their entries or their returns may have been missed
        self.selected_at
            .set(&0, &monotonic_ns())
            .map_err(refused("note when the calls were selected"))
    }

    /// Follows a thread.
    ///
    /// # Errors
    ///
    /// The table is full.
    pub(crate) fn follow(&self, tid: u32, state: Follow) -> Result<(), MapError> {
        self.followed
            .set(&tid, &(state as u8))
            .map_err(refused(format!("follow thread {tid}")))
    }

    /// Makes a program reachable by tail call.
    ///
    /// # Errors
    ///
    /// The kernel refuses to chain the program.
    pub(crate) fn chain(&self, tail: Tail, program: RawFd) -> Result<(), MapError> {
        self.tails
            .set(&(tail as u32), &program)
            .map_err(refused(format!("chain the program of {tail:?}")))
    }

    /// Makes the program that makes the events of execs reachable by tail call.
    ///
    /// # Errors
    ///
    /// The kernel refuses to chain the program.
    pub(crate) fn chain_exec(&self, program: RawFd) -> Result<(), MapError> {
        self.exec_tails
            .set(&0, &program)
            .map_err(refused("chain the program of execs"))
    }

    /// Events lost so far, by cause.
    pub(crate) fn lost(&self) -> [u64; Loss::ALL.len()] {
        Loss::ALL.map(|cause| self.lost_of(cause as u32))
    }

    /// Births, execs and ends among the lost events.
    pub(crate) fn lost_lives(&self) -> u64 {
        self.lost_of(Loss::ALL.len() as u32)
    }

    fn lost_of(&self, key: u32) -> u64 {
        let of_cpus = (self.losses.handle).lookup_percpu(key.as_bytes(), MapFlags::ANY);
        let Ok(Some(of_cpus)) = of_cpus else {
            return 0;
        };
        let count = |bytes: &Vec<u8>| u64::read_from_bytes(bytes.get(..8)?).ok();
        of_cpus.iter().filter_map(count).sum()
    }
}

impl Followed for Maps {
    fn tids(&self) -> Vec<u32> {
        self.followed.keys().collect()
    }

    fn add(&mut self, tid: u32) {
        // a full table is counted by the programs; an entry that is there already is no error
        let _ = self.followed.add(&tid, &(Follow::Active as u8));
    }

    fn remove(&mut self, tid: u32) {
        // the programs may have removed it
        let _ = self.followed.remove(&tid);
    }
}
