//! Swap: where pages go when memory is short. Compressed swap (zram) lies in the very memory that it relieves.

use ledger::Bytes;

use super::procfs::decimal;
use super::root::{ReadError, SystemRoot, reading};
use super::{Probe, ProbeScope, Reading};

/// One place for swapped pages, a line of `/proc/swaps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapArea {
    /// Its device or file.
    pub name: String,
    /// How much it holds.
    pub size: Bytes,
    /// How much is taken.
    pub used: Bytes,
}

/// A compressed block device, `/sys/block/zram*/mm_stat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Zram {
    /// Data before compression (`orig_data_size`).
    pub original: Bytes,
    /// Main memory that it takes, its own bookkeeping included (`mem_used_total`).
    pub taken: Bytes,
}

/// Reads swap areas and zram.
#[derive(Debug, Clone)]
pub struct Swap {
    root: SystemRoot,
}

impl Swap {
    /// Of the machine at `root`.
    pub fn new(root: &SystemRoot) -> Swap {
        Swap { root: root.clone() }
    }

    /// Every swap area; none is an answer.
    pub fn areas(&self) -> Result<Vec<SwapArea>, ReadError> {
        Ok(parse_areas(&self.root.text("/proc/swaps")?))
    }

    /// All zram devices together; `None` where there is none.
    pub fn zram(&self) -> Option<Zram> {
        let devices = self.root.list("/sys/block").ok()?.into_iter();
        let stats = devices
            .filter(|name| name.starts_with("zram"))
            .filter_map(|name| parse_mm_stat(&self.root.text(&format!("/sys/block/{name}/mm_stat")).ok()?));
        stats.reduce(|sum, zram| Zram {
            original: Bytes(sum.original.0.saturating_add(zram.original.0)),
            taken: Bytes(sum.taken.0.saturating_add(zram.taken.0)),
        })
    }
}

/// Lines of `/proc/swaps`: name, type, size, used (both in KiB), priority. A name may hold spaces, so fields are counted
/// from the end.
fn parse_areas(text: &str) -> Vec<SwapArea> {
    let area = |line: &str| {
        let mut fields = line.split_ascii_whitespace().rev();
        let (_priority, used, size) = (fields.next()?, fields.next()?, fields.next()?);
        let _kind = fields.next()?;
        let name: Vec<&str> = fields.collect();
        let kib = |text: &str| Some(Bytes(decimal(text.as_bytes())?.checked_mul(1024)?));
        let name = name.into_iter().rev().collect::<Vec<_>>().join(" ");
        (!name.is_empty()).then_some(SwapArea { name, size: kib(size)?, used: kib(used)? })
    };
    text.lines().skip(1).filter_map(area).collect()
}

/// `mm_stat`: nine numbers; the first is the data, the third what it takes.
fn parse_mm_stat(text: &str) -> Option<Zram> {
    let mut fields = text.split_ascii_whitespace().map(|field| decimal(field.as_bytes()));
    let original = fields.next()??;
    let taken = fields.nth(1)??;
    Some(Zram { original: Bytes(original), taken: Bytes(taken) })
}

impl Probe for Swap {
    fn id(&self) -> &'static str {
        "swap"
    }

    fn name(&self) -> &'static str {
        "swap and zram (/proc/swaps, /sys/block/zram*)"
    }

    fn scope(&self) -> ProbeScope {
        ProbeScope::System
    }

    fn cost(&self) -> &'static str {
        "some 20 µs"
    }

    fn cadence(&self) -> Reading<String> {
        reading(self.areas()).map(|_| "at phase edges".to_owned())
    }

    fn sample(&self) -> Reading<String> {
        reading(self.areas()).map(|areas| {
            let used = areas.iter().fold(0_u64, |sum, area| sum.saturating_add(area.used.0));
            match areas.len() {
                0 => "no swap".to_owned(),
                count => format!("{} used of {count} areas", Bytes(used)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_read_in_bytes_and_a_name_may_hold_spaces() {
        let text = "Filename\tType\tSize\tUsed\tPriority
/dev/zram0                              partition\t1002020\t512\t5
/a swap file                            file\t1024\t0\t-2
/dev/broken partition x 0 5\n";
        let areas = parse_areas(text);
        assert_eq!(
            areas,
            [
                SwapArea {
                    name: "/dev/zram0".to_owned(),
                    size: Bytes::kib(1_002_020),
                    used: Bytes::kib(512)
                },
                SwapArea { name: "/a swap file".to_owned(), size: Bytes::kib(1024), used: Bytes::ZERO },
            ]
        );
        assert_eq!(parse_areas("Filename Type Size Used Priority\n"), []);
    }

    #[test]
    fn compressed_pages_are_told_from_what_they_take() {
        let zram = parse_mm_stat("8192000 2048000 2400000 0 2400000 3 0 0 0");
        assert_eq!(zram, Some(Zram { original: Bytes(8_192_000), taken: Bytes(2_400_000) }));
        assert_eq!(parse_mm_stat("8192000 2048000"), None);
    }
}
