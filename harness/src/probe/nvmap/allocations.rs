//! `iovmm/allocations`: every buffer handle of every process.

use ledger::Bytes;

use super::clients::{NvmapClient, client};
use super::size;

/// One buffer. Large allocations of CUDA are one handle each; small ones share chunks of 2 MiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvmapHandle {
    /// Its size.
    pub bytes: Bytes,
    /// The number with which the allocating component marks its handles (`FLAGS >> 16`).
    pub tag: u16,
    /// References to it.
    pub references: u32,
    /// Processes that share it (`SHARE`).
    pub share: u32,
    /// The rest of the line: the tag's name, where the driver knows one.
    pub name: String,
}

/// Reads the text of `iovmm/allocations`: each client with its handles. Lines that are neither are passed over.
pub fn parse_allocations(text: &str) -> Vec<(NvmapClient, Vec<NvmapHandle>)> {
    let mut clients: Vec<(NvmapClient, Vec<NvmapHandle>)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("CLIENT") && !line.starts_with("total")) {
        if let Some(client) = client(line) {
            clients.push((client, Vec::new()));
        } else if let (Some(handle), Some((_, handles))) = (handle(line), clients.last_mut()) {
            handles.push(handle);
        }
    }
    clients
}

/// BASE SIZE FLAGS REFS DUPES PINS KMAPS UMAPS SHARE UID, and a name.
fn handle(line: &str) -> Option<NvmapHandle> {
    let mut fields = line.split_ascii_whitespace();
    u64::from_str_radix(fields.next()?, 16).ok()?;
    let bytes = size(fields.next()?)?;
    let flags = u32::from_str_radix(fields.next()?, 16).ok()?;
    let references = fields.next()?.parse().ok()?;
    let share = fields.nth(4)?.parse().ok()?;
    let _uid = fields.next()?;
    let name = fields.collect::<Vec<_>>().join(" ");
    Some(NvmapHandle { bytes, tag: (flags >> 16) as u16, references, share, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
CLIENT                        PROCESS      PID        SIZE
user                        llm_infer     4321    2097154K
                                          BASE       SIZE    FLAGS   REFS  DUPES   PINS  KMAPS  UMAPS  SHARE      UID
                                             0   2097152K  1080050      1      1      0      0      0      1 00000000a1b2c3d4 cuda weights
                                             0         2K        0      2      1      0      0      0      2 00000000a1b2c3d5
                                             0         2K        0      2

user                            idle      99          0K
total                                               2097154K
";

    #[test]
    fn every_buffer_stands_under_its_process() {
        let clients = parse_allocations(TABLE);
        assert_eq!(clients.len(), 2);
        let (process, handles) = &clients[0];
        assert_eq!((process.pid, handles.len()), (4321, 2), "a line that is cut short is no buffer");
        assert_eq!(handles[0].bytes, Bytes::gib(2));
        assert_eq!((handles[0].tag, handles[0].name.as_str()), (0x108, "cuda weights"));
        assert_eq!((handles[1].references, handles[1].share, handles[1].name.as_str()), (2, 2, ""));
        assert!(clients[1].1.is_empty());
        assert_eq!(parse_allocations("0 5K 0 1 1 0 0 0 1 0 t\n"), [], "a buffer without a process");
    }
}
