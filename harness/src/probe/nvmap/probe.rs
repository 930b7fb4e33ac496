//! GPU memory of a Jetson as one probe: what it needs, and what a phase edge records.

use ledger::Bytes;

use super::{FOLDER, NvmapClients, NvmapPool, PagePool};
use crate::probe::procfs::TEXT_BYTES;
use crate::probe::root::{ReadError, SystemRoot, reading};
use crate::probe::{Probe, ProbeScope, Reading};
use crate::record::NvmapReading;

/// The first pid namespace of a machine has this number in every kernel (`PROC_PID_INIT_INO`).
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

/// Pages of the page pool: boards with nvmap have kernels of 4 KiB pages.
const PAGE: Bytes = Bytes::kib(4);

/// Reads nvmap.
#[derive(Debug, Clone)]
pub struct Nvmap {
    root: SystemRoot,
}

impl Nvmap {
    /// Of the machine at `root`.
    pub fn new(root: &SystemRoot) -> Nvmap {
        Nvmap { root: root.clone() }
    }

    /// Who holds how much. Walks every handle in the kernel.
    pub fn clients(&self) -> Result<NvmapClients, ReadError> {
        let path = format!("{FOLDER}/iovmm/clients");
        let text = self.root.text(&path)?;
        NvmapClients::parse(&text)
            .ok_or_else(|| ReadError { path, source: std::io::Error::other("it is no table of clients") })
    }

    /// Freed pages that the driver keeps.
    pub fn page_pool(&self) -> Result<PagePool, ReadError> {
        PagePool::read(&self.root, PAGE)
    }

    /// What a phase edge records of the processes `pids`.
    pub fn edge(&self, pids: &[u32]) -> Reading<NvmapReading> {
        reading(self.total()).map(|total_bytes| NvmapReading {
            total_bytes,
            target_bytes: self.held_by(pids),
            page_pool_bytes: reading(self.page_pool()).map(|pool| pool.held),
        })
    }

    /// What the processes `pids` hold.
    pub fn held_by(&self, pids: &[u32]) -> Reading<Bytes> {
        if let Some(why) = self.foreign_numbers() {
            return Reading::Unavailable(why);
        }
        match reading(self.clients()) {
            Reading::Measured(clients) => clients.held_by(pids).map_or_else(
                || Reading::Unavailable("nvmap lists no process of the target".to_owned()),
                Reading::Measured,
            ),
            Reading::Unavailable(why) => Reading::Unavailable(why),
        }
    }

    /// What the processes `pids` hold, of which none has to hold anything. `None` where nvmap cannot be read at all.
    pub fn held_if_listed(&self, pids: &[u32]) -> Option<Reading<Bytes>> {
        let clients = self.clients().ok()?;
        let held = || Reading::Measured(clients.held_by(pids).unwrap_or_default());
        Some(self.foreign_numbers().map_or_else(held, Reading::Unavailable))
    }

    fn total(&self) -> Result<Bytes, String> {
        let pool = NvmapPool::open(&self.root);
        if let Some(why) = pool.refusal() {
            return Err(self.refusal(why));
        }
        let path = format!("{FOLDER}/stats/total_memory");
        pool.total(&mut [0; TEXT_BYTES]).ok_or_else(|| format!("{path} holds no number"))
    }

    /// debugfs belongs to root, and whoever may not enter cannot tell a missing file from a hidden one.
    fn refusal(&self, why: &ReadError) -> String {
        let entered = self.root.list("/sys/kernel/debug");
        match entered {
            Err(error) if error.is_denied() => format!("{why}: whether the driver is there cannot be seen"),
            _ if why.is_missing() => format!("{why}: this kernel has no nvmap, or debugfs is not mounted"),
            _ => why.to_string(),
        }
    }

    /// Why process numbers of nvmap, which are those of the first namespace, mean nothing to this process.
    fn foreign_numbers(&self) -> Option<String> {
        let namespace = self.root.link("/proc/self/ns/pid").ok()?;
        (namespace != FIRST_NAMESPACE).then(|| {
            "nvmap counts under the machine's process numbers, and this is another pid namespace; in a container, share the \
             machine's (--pid=host)"
                .to_owned()
        })
    }
}

impl Probe for Nvmap {
    fn id(&self) -> &'static str {
        "nvmap"
    }

    fn name(&self) -> &'static str {
        "GPU memory of a Jetson (debugfs nvmap)"
    }

    fn scope(&self) -> ProbeScope {
        ProbeScope::Device
    }

    fn cost(&self) -> &'static str {
        "some 3 µs for the total; by process it grows with the number of buffers"
    }

    fn cadence(&self) -> Reading<String> {
        reading(self.total()).map(|_| "the total every sample; by process at phase edges".to_owned())
    }

    fn sample(&self) -> Reading<String> {
        reading(self.total()).map(|total| match total {
            // On Thor the driver is there, and CUDA passes it by.
            Bytes::ZERO => "nothing given out".to_owned(),
            total => format!("{total} given out"),
        })
    }

    fn remedy(&self) -> Option<&'static str> {
        Some(
            "on a Jetson with nvmap run as root, or once as root: mount -o remount,mode=0755 /sys/kernel/debug; without it the \
             estimate `mem_unaccounted_bytes` is what there is",
        )
    }
}
