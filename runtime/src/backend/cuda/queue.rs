//! What the model asks for, gathered pass by pass: recorded as operators, made into kernels, and launched together. A pass that has
//! been seen before is launched as it was kept: its steps on the device, its kernels as a graph.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::sys::{
    self, CUgraphExec, CUlaunchAttribute, CUlaunchAttributeID, CUlaunchAttributeValue, CUlaunchConfig,
    CUstreamCaptureMode,
};

use super::context::Context;
use super::error::{CudaError, check};
use super::kernel_set::KernelSet;
use super::launch::{Launch, Program, Step, StepKind};
use super::lower::{Gpu, lower};
use super::memory::Address;
use super::op::Op;
use super::parameters::Parameters;
use super::step_store::StepStore;

/// Passes that are kept: their steps have places on the device.
const KEPT: usize = StepStore::PASSES;

/// Kernels of a pass that is worth a graph: fewer are launched one by one.
const WORTH_A_GRAPH: usize = 16;

/// Steps that come with a launch of the persistent kernel, where it has no place of its own on the device.
const ENCLOSED: usize = 9;

/// The argument of the persistent kernel.
#[repr(C, align(16))]
struct Pass {
    /// 0: they are enclosed.
    steps: Address,
    arrived: Address,
    count: u32,
    padding: [u32; 3],
    enclosed: [Step; ENCLOSED],
}

/// Records operators and runs them.
#[derive(Debug)]
pub(super) struct Queue {
    context: Arc<Context>,
    kernels: KernelSet,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    ops: Vec<Op>,
    parameters: Option<Parameters>,
    store: Option<StepStore>,
    program: Program,
    kept: Vec<Kept>,
    clock: u64,
    /// The first failure since it was last asked for.
    failed: Option<CudaError>,
}

/// How much of a pass is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    /// Some of it, between weights that are brought one after the other: launched kernel by kernel, because a pass has too many
    /// pieces to keep each as a graph.
    Piece,
    /// All that is left, which mostly is all there is.
    Rest,
}

/// A pass that has been seen, its kernels, where its steps are on the device, and its graph once it has been seen twice.
#[derive(Debug)]
struct Kept {
    ops: Vec<Op>,
    program: Program,
    steps: Option<Address>,
    executable: Option<Executable>,
    used: u64,
}

/// What a launch of the persistent kernel needs beside its steps.
#[derive(Debug, Clone, Copy)]
struct Steps {
    counter: Address,
    /// Where the steps of the pass are kept on the device.
    kept: Option<Address>,
}

#[derive(Debug)]
struct Executable(CUgraphExec);

// SAFETY: a handle of the driver, used under the queue's lock.
unsafe impl Send for Executable {}

impl Drop for Executable {
    fn drop(&mut self) {
        // SAFETY: instantiated once; the driver keeps what still runs until it has ended.
        unsafe { sys::cuGraphExecDestroy(self.0) };
    }
}

/// Whether an operator works on more tokens than a round has. Launching it takes no time beside it, and a prompt has few chunks
/// that are alike.
fn has_many_tokens(op: &Op) -> bool {
    matches!(op, Op::Linear { tokens: 65.., .. })
}

impl Queue {
    pub(super) fn new(context: Arc<Context>, kernels: KernelSet) -> Arc<Queue> {
        let state = State {
            ops: Vec::new(),
            parameters: None,
            store: None,
            program: Program::default(),
            kept: Vec::new(),
            clock: 0,
            failed: None,
        };
        Arc::new(Queue { context, kernels, state: Mutex::new(state) })
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the queue what numbers reach kernels through, and where it keeps steps.
    pub(super) fn use_memory(&self, parameters: Parameters, store: StepStore) {
        let mut state = self.state();
        (state.parameters, state.store) = (Some(parameters), Some(store));
    }

    /// Takes that back, so that its memory can go before the queue does.
    pub(super) fn drop_memory(&self) {
        let mut state = self.state();
        let memory = (state.parameters.take(), state.store.take());
        state.kept.clear();
        drop(state);
        drop(memory);
    }

    /// Adds an operator.
    pub(super) fn record(&self, op: Op) {
        self.state().ops.push(op);
    }

    /// Adds an operator that reads `numbers` where they come to stand on the device.
    pub(super) fn record_with(&self, numbers: &[u32], op: impl FnOnce(Address) -> Op) {
        let mut state = self.state();
        let State { ops, parameters, failed, .. } = &mut *state;
        match parameters.as_mut().map(|parameters| parameters.put(numbers)) {
            Some(Ok(place)) => ops.push(op(place)),
            Some(Err(error)) => {
                failed.get_or_insert(error);
            }
            None => {}
        }
    }

    /// Starts what is recorded. Its numbers stay where they are until somebody has waited for the end.
    fn start(&self, state: &mut State, share: Share) {
        if state.ops.is_empty() {
            return;
        }
        if state.failed.is_none()
            && let Err(error) = self.run(state, share)
        {
            state.failed = Some(error);
        }
        state.ops.clear();
    }

    fn run(&self, state: &mut State, share: Share) -> Result<(), CudaError> {
        self.context.enter()?;
        let State { ops, parameters, store, program, kept, clock, .. } = state;
        if let Some(parameters) = parameters {
            parameters.send(&self.context)?;
        }
        let counter = store.as_ref().map_or(0, StepStore::counter);
        *clock += 1;
        if share == Share::Rest
            && let Some(known) = kept.iter_mut().find(|known| known.ops == *ops)
        {
            known.used = *clock;
            return self.again(known, counter);
        }
        program.clear();
        lower(ops, Gpu::of(&self.context), program)?;
        let (launches, steps) = (program.launches.len(), program.steps.len());
        let worth_it = launches >= WORTH_A_GRAPH || steps > ENCLOSED;
        let all = Steps { counter, kept: None };
        if share == Share::Piece || !worth_it || ops.iter().any(has_many_tokens) {
            return self.launch_all(program, all);
        }
        let oldest = (0..kept.len()).min_by_key(|index| kept[*index].used);
        let place = match oldest {
            Some(oldest) if kept.len() >= KEPT => oldest,
            _ => kept.len(),
        };
        let steps = match store {
            Some(store) if steps > 0 => store.put(&self.context, place, &program.steps)?,
            _ => None,
        };
        let new = Kept { ops: ops.clone(), program: program.clone(), steps, executable: None, used: *clock };
        match kept.get_mut(place) {
            Some(old) => *old = new,
            None => kept.push(new),
        }
        self.launch_all(program, Steps { counter, kept: steps })
    }

    /// Launches a pass that has been seen.
    fn again(&self, known: &mut Kept, counter: Address) -> Result<(), CudaError> {
        let steps = Steps { counter, kept: known.steps };
        if known.program.launches.len() < WORTH_A_GRAPH {
            return self.launch_all(&known.program, steps);
        }
        let graph = match &known.executable {
            Some(executable) => executable.0,
            None => known.executable.insert(self.capture(&known.program, steps)?).0,
        };
        // SAFETY: an instantiated graph whose buffers are those of its operators, which are there.
        check("launch a graph", unsafe { sys::cuGraphLaunch(graph, self.context.stream()) })
    }

    /// Launches all kernels. The first waits for everything in front of it: what it reads before the kernel in front has ended may
    /// have been written by another piece of the pass.
    fn launch_all(&self, program: &Program, steps: Steps) -> Result<(), CudaError> {
        let mut launches = program.launches.iter().enumerate();
        launches.try_for_each(|(place, launch)| match launch.kernel {
            kernel if kernel.is_persistent() => self.launch_steps(program, launch, steps),
            _ => self.launch(program, launch, place > 0),
        })
    }

    /// Launches steps: all at once where they are kept on the device, else as many at a time as come with a launch.
    fn launch_steps(&self, program: &Program, launch: &Launch, steps: Steps) -> Result<(), CudaError> {
        let mut pass = Pass {
            steps: 0,
            arrived: steps.counter,
            count: 0,
            padding: [0; 3],
            enclosed: [Step::new(StepKind::Multiply, &[]); ENCLOSED],
        };
        let all = launch.steps.clone();
        if let Some(kept) = steps.kept {
            pass.steps = kept + (all.start * size_of::<Step>()) as u64;
            pass.count = all.len() as u32;
            return self.launch_pass(launch, &pass);
        }
        program.steps[all].chunks(ENCLOSED).enumerate().try_for_each(|(index, chunk)| {
            let start = (index * ENCLOSED) as u32;
            for (enclosed, step) in pass.enclosed.iter_mut().zip(chunk) {
                *enclosed = step.settled(step.flags, (step.next - start).min(chunk.len() as u32));
            }
            pass.count = chunk.len() as u32;
            self.launch_pass(launch, &pass)
        })
    }

    /// Launches the persistent kernel, whose blocks are all there at the same time.
    fn launch_pass(&self, launch: &Launch, pass: &Pass) -> Result<(), CudaError> {
        // SAFETY: all zeros is a valid value.
        let mut value: CUlaunchAttributeValue = unsafe { std::mem::zeroed() };
        value.cooperative = 1;
        let id = CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
        let argument = std::ptr::from_ref(pass).cast_mut().cast();
        self.launch_with(launch, Some((id, value)), &mut [argument])
    }

    /// `early`: whether it may start before the kernel in front has ended.
    fn launch(&self, program: &Program, launch: &Launch, early: bool) -> Result<(), CudaError> {
        // SAFETY: all zeros is a valid value.
        let mut value: CUlaunchAttributeValue = unsafe { std::mem::zeroed() };
        value.programmaticStreamSerializationAllowed = 1;
        let id = CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
        let attribute = (early && self.context.starts_early()).then_some((id, value));
        let mut arguments: [*mut c_void; 8] = [std::ptr::null_mut(); 8];
        for (argument, range) in arguments.iter_mut().zip(&launch.arguments) {
            *argument = program.argument(range).cast_mut().cast();
        }
        self.launch_with(launch, attribute, &mut arguments)
    }

    fn launch_with(
        &self,
        launch: &Launch,
        attribute: Option<(CUlaunchAttributeID, CUlaunchAttributeValue)>,
        arguments: &mut [*mut c_void],
    ) -> Result<(), CudaError> {
        let mut attribute = attribute.map(|(id, value)| CUlaunchAttribute { id, pad: [0; 4], value });
        let config = CUlaunchConfig {
            gridDimX: launch.grid[0],
            gridDimY: launch.grid[1],
            gridDimZ: launch.grid[2],
            blockDimX: launch.block,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: launch.shared.min(self.context.shared),
            hStream: self.context.stream(),
            numAttrs: u32::from(attribute.is_some()),
            attrs: attribute.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut),
        };
        // SAFETY: the kernel takes these arguments in this order, and they live until the call returns, which copies them.
        check("launch a kernel", unsafe {
            sys::cuLaunchKernelEx(
                &raw const config,
                self.kernels.function(launch.kernel),
                arguments.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        })
    }

    /// The program as a graph.
    fn capture(&self, program: &Program, steps: Steps) -> Result<Executable, CudaError> {
        let stream = self.context.stream();
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        let (mut graph, mut executable) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the stream is not capturing; the capture is ended whatever happens in between.
        unsafe {
            check("record a graph", sys::cuStreamBeginCapture_v2(stream, mode))?;
            let launched = self.launch_all(program, steps);
            let ended = check("end a graph", sys::cuStreamEndCapture(stream, &raw mut graph));
            launched.and(ended)?;
            let made = sys::cuGraphInstantiateWithFlags(&raw mut executable, graph, 0);
            sys::cuGraphDestroy(graph);
            check("make a graph", made)?;
        }
        Ok(Executable(executable))
    }

    /// Starts what is recorded of a pass, and does not wait: the host goes on with the rest of it.
    pub(super) fn start_piece(&self) {
        self.start(&mut self.state(), Share::Piece);
    }

    /// Starts what is recorded and waits for it.
    ///
    /// # Errors
    /// What failed since the last time; it is kept for [`Queue::failure`], too.
    pub(super) fn finish(&self) -> Result<(), CudaError> {
        let mut state = self.state();
        self.start(&mut state, Share::Rest);
        self.wait(&mut state);
        state.failed.clone().map_or(Ok(()), Err)
    }

    /// Waits for all that was started, failed or not: nobody reads the numbers of the pass any more.
    fn wait(&self, state: &mut State) {
        if let Err(error) = self.context.wait() {
            state.failed.get_or_insert(error);
        }
        if let Some(parameters) = &mut state.parameters {
            parameters.clear();
        }
    }

    /// Whether something has failed since it was last asked for.
    pub(super) fn has_failed(&self) -> bool {
        self.state().failed.is_some()
    }

    /// Writes `row` to the device at `to`, behind all that is recorded.
    pub(super) fn write_row(&self, to: Address, row: &[f32]) {
        let mut state = self.state();
        self.start(&mut state, Share::Piece);
        let State { parameters, failed, .. } = &mut *state;
        if let (None, Some(parameters)) = (&failed, parameters)
            && let Err(error) = parameters.write_row(&self.context, to, row)
        {
            *failed = Some(error);
        }
    }

    /// As [`Queue::finish`], and forgets what failed.
    pub(super) fn failure(&self) -> Option<CudaError> {
        let _ = self.finish();
        self.state().failed.take()
    }

    /// Bytes of the device at `from`, once all that is recorded is done.
    ///
    /// # Errors
    /// What failed.
    pub(super) fn read(&self, from: Address, into: &mut [u8]) -> Result<(), CudaError> {
        let mut state = self.state();
        self.start(&mut state, Share::Rest);
        if state.failed.is_some() {
            self.wait(&mut state);
        }
        let State { parameters, failed, .. } = &mut *state;
        let read = match (failed.clone(), parameters) {
            (Some(error), _) => Err(error),
            (None, Some(parameters)) => parameters.read(&self.context, from, into),
            (None, None) => Ok(()),
        };
        if let Err(error) = &read {
            failed.get_or_insert(error.clone());
        }
        read
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Graphs go before the kernels that they launch.
        let _ = self.context.wait();
        self.state().kept.clear();
    }
}
