//! Kernels that become steps of one that stays, beside what only that one does.

use super::super::kernel_set::Kernel;
use super::super::launch::{Launch, Program, Step, StepKind};
use super::linear::windows_of;

/// The step that a persistent kernel makes of `launch`, where it can.
fn step_of(program: &Program, launch: &Launch) -> Option<Step> {
    let kind = match launch.kernel {
        Kernel::Embed if launch.grid[0] == 1 => StepKind::Embed,
        Kernel::RopeAngles if launch.grid[0] == 1 => StepKind::Angles,
        Kernel::DeltaRecurrent => StepKind::Recur,
        Kernel::AttendMerge => StepKind::Merge,
        Kernel::ArgmaxParts => StepKind::Search,
        Kernel::ArgmaxRows => StepKind::Place,
        _ => return None,
    };
    Some(Step::new(kind, program.words_of(launch)))
}

/// Steps that follow each other, and the kernel that takes them: none if there is nothing among them that only a persistent kernel does.
struct Run {
    steps: Vec<Step>,
    first: Option<Launch>,
}

/// The longest run of steps that `launches` begin with, of one persistent kernel.
fn run_of(program: &Program, products: &[Step], launches: &[Launch]) -> Run {
    let mut run = Run { steps: Vec::new(), first: None };
    for launch in launches {
        let step = match launch.kernel.is_persistent() {
            true => products.get(launch.steps.start).copied(),
            false => step_of(program, launch),
        };
        let Some(step) = step else { break };
        if launch.kernel.is_persistent() {
            let known = run.first.get_or_insert_with(|| launch.clone());
            let is_attention = |it: &Step| it.kind == StepKind::Attend;
            // A product may stand beside attention to any cache.
            if is_attention(&step) {
                if known.kernel != launch.kernel && run.steps.iter().any(is_attention) {
                    break;
                }
                known.kernel = launch.kernel;
            }
        }
        run.steps.push(step);
    }
    run
}

/// Makes steps of kernels that stand before, between and behind those that only a persistent kernel takes, and one launch of steps that
/// follow each other. What is not beside one stays a kernel.
pub(super) fn join(program: &mut Program) {
    let launches = std::mem::take(&mut program.launches);
    let products = std::mem::take(&mut program.steps);
    let mut rest = &launches[..];
    while !rest.is_empty() {
        let Run { steps, first } = run_of(program, &products, rest);
        let taken = steps.len().max(1);
        match first {
            Some(launch) => {
                let start = program.steps.len();
                program.steps.extend(settle(&steps));
                program.launches.push(Launch { steps: start..start + steps.len(), ..launch });
            }
            None => program.launches.extend_from_slice(&rest[..taken]),
        }
        rest = &rest[taken..];
    }
}

/// Steps in their order, told what they wait for and which product comes next.
fn settle(steps: &[Step]) -> impl Iterator<Item = Step> {
    let next_of = |at: usize| {
        let behind = steps[at + 1..].iter().position(|step| step.kind == StepKind::Multiply);
        behind.map_or(steps.len(), |distance| at + 1 + distance)
    };
    steps.iter().enumerate().map(move |(at, step)| {
        let before = at.checked_sub(1).map(|before| &steps[before]);
        // Angles need no embedding.
        let beside = step.kind == StepKind::Angles && before.is_some_and(|it| it.kind == StepKind::Embed);
        let waits = if beside { 0 } else { Step::WAITS };
        // What a step alone writes, the step in front may write as well if it is the same kind of step.
        let early = match before {
            Some(before) if before.kind == step.kind => keeps_apart(before, step),
            _ => true,
        };
        let early = if early { Step::EARLY } else { 0 };
        step.settled(waits | early, next_of(at) as u32)
    })
}

/// Whether two steps of a kind that follow each other have no state in common.
fn keeps_apart(one: &Step, other: &Step) -> bool {
    match one.kind {
        StepKind::Multiply => {
            windows_of(one).all(|window| window == 0 || windows_of(other).all(|it| it != window))
        }
        _ => false,
    }
}
