//! The rest between two trials.

use super::super::cooldown::Cooldown;
use super::super::diagnostic::Diagnostic;
use super::super::file::CooldownFile;
use super::super::located::Located;
use super::Mistakes;

pub(super) fn cooldown_of(written: &Located<CooldownFile>, mistakes: &mut Mistakes) -> Option<Cooldown> {
    if written.lasts.is_none() && written.below.is_none() {
        mistakes.push(
            Diagnostic::new("this cooldown waits for nothing", written.span.clone())
                .hint("for example `{for: 30 s}` or `{below: 55 °C, timeout: 2 min}`"),
        );
        return None;
    }
    if let Some(timeout) = written.timeout.as_ref().filter(|_| written.below.is_none()) {
        mistakes.push(
            Diagnostic::new("there is nothing to give up on", timeout.span.clone())
                .hint("`timeout` goes with `below`"),
        );
    }
    Some(Cooldown {
        lasts: written.lasts.map_or(std::time::Duration::ZERO, |lasts| lasts.0),
        below: written.below,
        timeout: written.timeout.as_ref().map_or(Cooldown::TIMEOUT, |timeout| timeout.0),
    })
}
