//! The rest between two trials: for some time, and until the machine is cool.

use std::time::{Duration, Instant};

use ledger::Micros;

use crate::interrupt::Interrupt;
use crate::probe::SystemRoot;
use crate::probe::board::Thermal;
use crate::record::{CooldownRecord, Reading};
use crate::scenario::{Cooldown, Temperature};

/// Time between two looks at the temperature, and at whether someone asks to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Rests as `rule` says. Returns what came of it, and what makes the next trial doubtful: a temperature that cannot be read, or that
/// is still too high.
pub(super) async fn cool_down(
    rule: Cooldown,
    machine: &SystemRoot,
    interrupt: &Interrupt,
) -> (CooldownRecord, Option<String>) {
    let thermal = Thermal::new(machine);
    let started = Instant::now();
    let hottest = loop {
        let hottest = rule.below.map(|below| (below, thermal.hottest()));
        let is_hot = match &hottest {
            Some((below, Ok((_, degrees)))) => *degrees >= below.0 && started.elapsed() < rule.timeout,
            // What cannot be read will not be read by waiting.
            Some((_, Err(_))) | None => false,
        };
        if interrupt.is_asked() || (started.elapsed() >= rule.lasts && !is_hot) {
            break hottest;
        }
        tokio::time::sleep(LOOK_EVERY.min(rule.lasts.saturating_sub(started.elapsed()).max(LOOK_EVERY / 10)))
            .await;
    };
    let doubt = hottest.as_ref().and_then(|(below, hottest)| match hottest {
        Ok((zone, degrees)) if *degrees >= below.0 => Some(format!(
            "it began hot: {zone} was at {}, and not below {below}, after {} s of cooldown",
            Temperature(*degrees),
            started.elapsed().as_secs()
        )),
        Ok(_) => None,
        Err(why) => Some(format!(
            "whether it began below {below} is not known: {why}; `needs: {{probes: [temperature]}}` refuses such a machine"
        )),
    });
    let reading = |hottest: Result<(String, i64), String>| match hottest {
        Ok((_, degrees)) => Reading::Measured(degrees),
        Err(why) => Reading::Unavailable(why),
    };
    let record = CooldownRecord {
        rested_us: Micros(started.elapsed().as_micros() as u64),
        hottest_millidegrees: hottest.map(|(_, hottest)| reading(hottest)),
    };
    (record, doubt.filter(|_| !interrupt.is_asked()))
}
