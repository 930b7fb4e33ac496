//! `iovmm/clients`: GPU memory by process.

use ledger::Bytes;

use super::size;

/// A process that holds GPU memory, or the kernel itself under number 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvmapClient {
    /// The process's name as the kernel cuts it, 15 bytes at most.
    pub process: String,
    /// Its number in the machine's first pid namespace, whatever namespace this process is in.
    pub pid: u32,
    /// What it holds; newer drivers divide a shared handle among its holders.
    pub bytes: Bytes,
}

/// The whole table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NvmapClients {
    /// One entry a client; a process may be several.
    pub clients: Vec<NvmapClient>,
    /// The last line: every handle once, so it may differ from the sum of the clients.
    pub total: Option<Bytes>,
}

impl NvmapClients {
    /// Reads the text of `iovmm/clients`, or the same lines of `iovmm/allocations`. `None` where it is no such table.
    pub fn parse(text: &str) -> Option<NvmapClients> {
        let mut lines = text.lines();
        lines.next().filter(|header| header.starts_with("CLIENT"))?;
        let mut table = NvmapClients::default();
        for line in lines {
            match line.strip_prefix("total") {
                Some(rest) => table.total = size(rest.trim()),
                None => table.clients.extend(client(line)),
            }
        }
        Some(table)
    }

    /// What the processes `pids` hold, and whether any of them is in the table.
    pub fn held_by(&self, pids: &[u32]) -> Option<Bytes> {
        let own = self.clients.iter().filter(|client| client.pid != 0 && pids.contains(&client.pid));
        own.map(|client| client.bytes.0).reduce(u64::saturating_add).map(Bytes)
    }
}

/// A line: the client's kind, the process's name, its number, the size. The name may hold spaces and parentheses, so its
/// end is found from the right.
pub(super) fn client(line: &str) -> Option<NvmapClient> {
    let line = line.trim_end();
    if line.starts_with(char::is_whitespace) {
        return None;
    }
    let (rest, bytes) = line.rsplit_once(char::is_whitespace)?;
    let bytes = size(bytes)?;
    let (rest, pid) = rest.trim_end().rsplit_once(char::is_whitespace)?;
    let pid = pid.parse().ok()?;
    let (_kind, process) = rest.split_once(char::is_whitespace)?;
    Some(NvmapClient { process: process.trim().to_owned(), pid, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
CLIENT                        PROCESS      PID        SIZE
user                             Xorg     1234        180K
user                  VLLM::EngineCor  1792595   14617792K
user                     a (b) c 12 K     4321        100K
user                     a (b) c 12 K     4321         24K
kernel                         kernel        0          8K
total                                             14617900K
";

    #[test]
    fn names_with_spaces_and_parentheses_keep_their_numbers() {
        let table = NvmapClients::parse(TABLE).expect("a table");
        let names: Vec<(&str, u32)> =
            table.clients.iter().map(|client| (client.process.as_str(), client.pid)).collect();
        assert_eq!(
            names,
            [
                ("Xorg", 1234),
                ("VLLM::EngineCor", 1_792_595),
                ("a (b) c 12 K", 4321),
                ("a (b) c 12 K", 4321),
                ("kernel", 0)
            ]
        );
        assert_eq!(table.total, Some(Bytes::kib(14_617_900)), "shared handles count once in the total");
        assert_eq!(table.held_by(&[4321, 7]), Some(Bytes::kib(124)));
        assert_eq!(table.held_by(&[7]), None, "not to be listed is no zero");
        assert_eq!(table.held_by(&[0]), None, "the kernel is nobody's process");
    }

    #[test]
    fn torn_and_foreign_text_is_left_out() {
        assert_eq!(NvmapClients::parse(""), None);
        assert_eq!(NvmapClients::parse("no table\n"), None);
        for line in ["user", "user x", "user x 1", "user x 1 12", "user x y 5K", "user 1 5K", "  a b 1 5K"] {
            assert_eq!(client(line), None, "{line}");
        }
        assert_eq!(client("user x 1 99999999999999999999K"), None);
        assert_eq!(client("user x 1 99999999999999999G"), None);
        let torn = NvmapClients::parse("CLIENT PROCESS PID SIZE\nuser x 1 5K\nuser y 2").expect("a table");
        assert_eq!((torn.clients.len(), torn.total), (1, None));
    }

    proptest::proptest! {
        #[test]
        fn any_name_that_the_kernel_prints_comes_back(
            name in "[!-~]([ -~]{0,13}[!-~])?",
            pid in 0_u32..4_194_304,
            kib in 0_u64..1 << 40,
        ) {
            // The driver's own format.
            let line = format!("{:<18} {name:>18} {pid:>8} {kib:>10}K", "user");
            let expected = NvmapClient { process: name, pid, bytes: Bytes(kib << 10) };
            proptest::prop_assert_eq!(client(&line), Some(expected));
        }

        #[test]
        fn no_table_makes_it_panic(text in "(\\PC|[ \n\tK0-9]){0,300}") {
            let _ = NvmapClients::parse(&format!("CLIENT\n{text}"));
            let _ = crate::probe::nvmap::parse_allocations(&text);
        }
    }
}
