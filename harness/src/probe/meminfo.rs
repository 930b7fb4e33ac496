//! Memory of the machine as `/proc/meminfo` divides it, parsed without allocation.

use ledger::Bytes;

use super::procfs::for_each_kib;

/// `/proc/meminfo`. A line that this kernel does not have is `None`, never zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemInfo {
    /// `MemTotal`: what the kernel manages; less than what is soldered on.
    pub total: Option<Bytes>,
    /// `MemFree`: used for nothing at all.
    pub free: Option<Bytes>,
    /// `MemAvailable`: what could be had without swapping.
    pub available: Option<Bytes>,
    /// `Buffers`: page cache of block devices.
    pub buffers: Option<Bytes>,
    /// `Cached`: page cache of files, shared memory included.
    pub cached: Option<Bytes>,
    /// `SwapCached`: pages that are in memory and in swap.
    pub swap_cached: Option<Bytes>,
    /// `AnonPages`: anonymous pages of all processes.
    pub anonymous: Option<Bytes>,
    /// `Slab`: the kernel's own objects.
    pub slab: Option<Bytes>,
    /// `KernelStack`.
    pub kernel_stack: Option<Bytes>,
    /// `PageTables`.
    pub page_tables: Option<Bytes>,
    /// `Percpu`.
    pub per_cpu: Option<Bytes>,
    /// `VmallocUsed`.
    pub vmalloc_used: Option<Bytes>,
    /// `Hugetlb`: pages that are set aside for hugetlbfs.
    pub huge_tlb: Option<Bytes>,
    /// `SwapTotal`: zero where there is no swap.
    pub swap_total: Option<Bytes>,
    /// `SwapFree`.
    pub swap_free: Option<Bytes>,
    /// `CmaTotal`: the kernel's area for contiguous memory.
    pub cma_total: Option<Bytes>,
    /// `CmaFree`.
    pub cma_free: Option<Bytes>,
    /// `NvMapMemUsed`, which kernels before 4.15 have on Jetson boards and no later one.
    pub nvmap_used: Option<Bytes>,
}

impl MemInfo {
    /// Reads the text of `meminfo`. Does not allocate.
    pub fn parse(text: &[u8]) -> MemInfo {
        let mut info = MemInfo::default();
        for_each_kib(text, |key, bytes| {
            let field = match key {
                b"MemTotal" => &mut info.total,
                b"MemFree" => &mut info.free,
                b"MemAvailable" => &mut info.available,
                b"Buffers" => &mut info.buffers,
                b"Cached" => &mut info.cached,
                b"SwapCached" => &mut info.swap_cached,
                b"AnonPages" => &mut info.anonymous,
                b"Slab" => &mut info.slab,
                b"KernelStack" => &mut info.kernel_stack,
                b"PageTables" => &mut info.page_tables,
                b"Percpu" => &mut info.per_cpu,
                b"VmallocUsed" => &mut info.vmalloc_used,
                b"Hugetlb" => &mut info.huge_tlb,
                b"SwapTotal" => &mut info.swap_total,
                b"SwapFree" => &mut info.swap_free,
                b"CmaTotal" => &mut info.cma_total,
                b"CmaFree" => &mut info.cma_free,
                b"NvMapMemUsed" => &mut info.nvmap_used,
                _ => return,
            };
            *field = Some(Bytes(bytes));
        });
        info
    }

    /// What is neither free nor in any line of the kernel: on a board whose GPU shares main memory, the GPU's memory,
    /// the driver's pool of freed pages, and drivers. An estimate that needs no rights; its change over a run says more
    /// than its size. `None` where a line is missing. Does not allocate.
    pub fn unaccounted(&self) -> Option<i64> {
        let parts = [
            self.free,
            self.buffers,
            self.cached,
            self.swap_cached,
            self.anonymous,
            self.slab,
            self.kernel_stack,
            self.page_tables,
            self.per_cpu,
            self.vmalloc_used,
        ];
        let named: u64 = parts.into_iter().try_fold(0_u64, |sum, part| sum.checked_add(part?.0))?;
        // Kernels without huge pages have no such line, and no such pages.
        let named = named.checked_add(self.huge_tlb.unwrap_or_default().0)?;
        i64::try_from(self.total?.0).ok()?.checked_sub(i64::try_from(named).ok()?)
    }

    /// Used as `tegrastats` counts: everything but free pages, buffers and page cache.
    pub fn used_as_tegrastats(&self) -> Option<Bytes> {
        let rest = self.free?.0.checked_add(self.buffers?.0)?.checked_add(self.cached?.0)?;
        self.total?.0.checked_sub(rest).map(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that matter of a JetPack 6 Orin Nano at rest.
    const NANO: &[u8] =
        b"MemTotal: 7802736 kB\nMemFree: 3668508 kB\nMemAvailable: 6245596 kB\nBuffers: 633812 kB
Cached: 2193460 kB\nSwapCached: 1212 kB\nSwapTotal: 3901344 kB\nSwapFree: 3608100 kB\nAnonPages: 108724 kB
Slab: 239900 kB\nKernelStack: 7408 kB\nPageTables: 12016 kB\nVmallocUsed: 58724 kB\nPercpu: 4080 kB
CmaTotal: 262144 kB\nCmaFree: 0 kB\nHugePages_Total: 0\nHugetlb: 0 kB\n";

    #[test]
    fn what_no_line_owns_is_estimated_from_a_real_board() {
        let info = MemInfo::parse(NANO);
        assert_eq!(info.unaccounted(), Some(874_892 * 1024));
        assert_eq!(info.used_as_tegrastats(), Some(Bytes::kib(1_306_956)));
        assert_eq!(info.nvmap_used, None, "a kernel without the line has no such number");
    }

    #[test]
    fn a_missing_line_is_no_zero() {
        let text = String::from_utf8_lossy(NANO).replace("Slab: 239900 kB\n", "");
        let info = MemInfo::parse(text.as_bytes());
        assert_eq!((info.slab, info.unaccounted()), (None, None));
        assert_eq!(MemInfo::parse(b"\xff:: kB\nMemTotal: x kB\n"), MemInfo::default());
    }

    #[test]
    fn numbers_beyond_the_machine_do_not_wrap() {
        let text = String::from_utf8_lossy(NANO).replace("Slab: 239900 kB", "Slab: 18446744073709551615 kB");
        assert_eq!(MemInfo::parse(text.as_bytes()).unaccounted(), None);
    }
}
