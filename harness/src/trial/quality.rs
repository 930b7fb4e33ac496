//! What a configuration costs in quality: measured after the phases in a process of its own, so that its memory is not the target's.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::{Instant, sleep};

use super::TrialPlan;
use super::log_tail::log_tail;
use crate::record::{QualityReading, Reading};
use crate::scenario::Quality;
use crate::target::{Guardian, ScoreJob, Wards};

/// Time between two looks at the process.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Measures quality, where the scenario asks for it. What cannot be measured is a reading without a value.
pub(super) async fn quality_of(
    plan: &TrialPlan<'_>,
    guardian: &mut Option<&mut Guardian>,
) -> Option<Reading<QualityReading>> {
    let quality = plan.scenario.quality_of(plan.cell)?;
    Some(match score(plan, quality, guardian).await {
        Ok(reading) => Reading::Measured(reading),
        Err(why) => Reading::Unavailable(why),
    })
}

async fn score(
    plan: &TrialPlan<'_>,
    quality: &Quality,
    guardian: &mut Option<&mut Guardian>,
) -> Result<QualityReading, String> {
    let engine = &plan.engine.folder;
    let reference =
        plan.reference.map_or(Ok(engine), |reference| reference.as_ref().map_err(Clone::clone))?;
    let job = ScoreJob { engine, reference, settings: &plan.cell.settings, quality };
    let command = plan.target.score(&job);
    let command = command.ok_or_else(|| format!("the target {} cannot score a text", plan.target.name()))?;
    let log = File::options().create(true).append(true).open(&plan.paths.log);
    let child =
        log.and_then(|log| start(command, log)).map_err(|error| format!("start to score: {error}"))?;
    let mut watch = |groups: Vec<u32>| {
        plan.interrupt.guard_groups(&groups);
        if let Some(guardian) = guardian {
            guardian.watch(Wards { groups, cgroup: None });
        }
    };
    watch(vec![child.id()]);
    let scored = wait(child, plan, quality.timeout).await;
    watch(Vec::new());
    scored
}

/// A process group of its own: nothing of it is left once that is killed.
fn start(mut command: Command, log: File) -> std::io::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).process_group(0).spawn()
}

async fn wait(mut child: Child, plan: &TrialPlan<'_>, timeout: Duration) -> Result<QualityReading, String> {
    let deadline = Instant::now() + timeout;
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) if plan.interrupt.is_asked_now() => break Err("interrupted".to_owned()),
            Ok(None) if Instant::now() > deadline => {
                break Err(format!("it was not scored within {} s", timeout.as_secs_f64()));
            }
            Ok(None) => sleep(LOOK_EVERY).await,
            Err(error) => break Err(format!("wait for the score: {error}")),
        }
    };
    let status = match ended {
        Ok(status) => status,
        Err(why) => {
            if let Some(group) = Pid::from_raw(child.id() as i32) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait();
            return Err(why);
        }
    };
    // The answer is far smaller than a pipe, so that nobody had to read it until now.
    let mut answer = String::new();
    let read = child.stdout.take().map(|mut out| out.read_to_string(&mut answer)).transpose();
    if !status.success() {
        let last = log_tail(&plan.paths.log).pop().unwrap_or_default();
        return Err(format!("scoring ended with {status}: {last}"));
    }
    read.map_err(|error| format!("read the score: {error}"))?;
    serde_json::from_str(&answer).map_err(|error| format!("understand the score: {error}"))
}
