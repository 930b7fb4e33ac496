//! The power mode of a Jetson (`nvpmodel`), from its files: neither the program nor any right is needed.

use serde::Serialize;

use crate::probe::root::{SystemRoot, reading};
use crate::probe::{Probe, ProbeScope, Reading};

const STATUS: &str = "/var/lib/nvpmodel/status";
const TABLE: &str = "/etc/nvpmodel.conf";

/// A power mode. Numbers mean something else on each board; names are what people know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PowerMode {
    /// Its number in the table.
    pub id: u32,
    /// Its name, for example `MAXN_SUPER` or `15W`; missing where the table does not list it.
    pub name: Option<String>,
}

/// Reads the power mode.
#[derive(Debug, Clone)]
pub struct PowerModes {
    root: SystemRoot,
}

impl PowerModes {
    /// Of the machine at `root`.
    pub fn new(root: &SystemRoot) -> PowerModes {
        PowerModes { root: root.clone() }
    }

    /// The mode that is set.
    pub fn current(&self) -> Result<PowerMode, String> {
        let status = self.root.text(STATUS).map_err(|error| error.to_string())?;
        let id = parse_status(&status).ok_or_else(|| format!("{STATUS} has no line `pmode:NUMBER`"))?;
        let name = self.all().into_iter().find(|mode| mode.id == id).and_then(|mode| mode.name);
        Ok(PowerMode { id, name })
    }

    /// The table of modes, empty where it cannot be read.
    pub fn all(&self) -> Vec<PowerMode> {
        self.root.text(TABLE).map(|text| parse_table(&text)).unwrap_or_default()
    }

    /// The mode without limits: the one whose name begins with `MAXN`, the longest such name where there are several.
    pub fn fastest(&self) -> Option<PowerMode> {
        let is_fastest = |mode: &PowerMode| mode.name.as_deref().is_some_and(|name| name.starts_with("MAXN"));
        let modes = self.all().into_iter().filter(is_fastest);
        modes.max_by_key(|mode| mode.name.as_ref().map(String::len))
    }
}

/// `pmode:0002`, beside other lines such as `fmode:quiet`.
fn parse_status(text: &str) -> Option<u32> {
    text.split_ascii_whitespace().find_map(|field| field.strip_prefix("pmode:")?.parse().ok())
}

/// Lines `< POWER_MODEL ID=2 NAME=MAXN_SUPER >`.
fn parse_table(text: &str) -> Vec<PowerMode> {
    let mode = |line: &str| {
        let inner = line.trim().strip_prefix('<')?.strip_suffix('>')?;
        let mut fields = inner.split_ascii_whitespace();
        if fields.next() != Some("POWER_MODEL") {
            return None;
        }
        let field = |key: &str| inner.split_ascii_whitespace().find_map(|field| field.strip_prefix(key));
        Some(PowerMode { id: field("ID=")?.parse().ok()?, name: field("NAME=").map(str::to_owned) })
    };
    text.lines().filter_map(mode).collect()
}

impl Probe for PowerModes {
    fn id(&self) -> &'static str {
        "power_mode"
    }

    fn name(&self) -> &'static str {
        "power mode (nvpmodel)"
    }

    fn scope(&self) -> ProbeScope {
        ProbeScope::System
    }

    fn cost(&self) -> &'static str {
        "some 20 µs"
    }

    fn cadence(&self) -> Reading<String> {
        reading(self.current()).map(|_| "once a run".to_owned())
    }

    fn sample(&self) -> Reading<String> {
        reading(self.current()).map(|mode| match mode.name {
            Some(name) => format!("{name} (number {})", mode.id),
            None => format!("number {}, which the table does not list", mode.id),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_known_by_its_name() {
        assert_eq!(parse_status("pmode:0002\nfmode:quiet\n"), Some(2));
        assert_eq!(parse_status("fmode:quiet"), None);
        let table = "# a comment\n< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< POWER_MODEL ID=x NAME=BAD >\n< PM_CONFIG DEFAULT=2 >\n";
        let modes = parse_table(table);
        let names: Vec<_> = modes.iter().map(|mode| (mode.id, mode.name.as_deref())).collect();
        assert_eq!(names, [(0, Some("15W")), (2, Some("MAXN_SUPER"))]);
    }
}
