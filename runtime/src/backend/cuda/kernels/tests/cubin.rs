//! The reader of cubins, against what ptxas said when it made them.

use proptest::prelude::*;

use super::SAMPLE;
use crate::backend::cuda::kernels::{KernelResources, resources};

/// A cubin and what ptxas said, for each GPU and compiler: all four put some of the numbers in other places.
const SAMPLES: [(&str, &[u8], &str); 4] = [
    ("sm_87, 12.6", SAMPLE, include_str!("sample-sm_87-nvrtc12.6.log")),
    (
        "sm_90, 12.6",
        include_bytes!("sample-sm_90-nvrtc12.6.cubin"),
        include_str!("sample-sm_90-nvrtc12.6.log"),
    ),
    (
        "sm_87, 13.0",
        include_bytes!("sample-sm_87-nvrtc13.0.cubin"),
        include_str!("sample-sm_87-nvrtc13.0.log"),
    ),
    (
        "sm_90, 13.0",
        include_bytes!("sample-sm_90-nvrtc13.0.cubin"),
        include_str!("sample-sm_90-nvrtc13.0.log"),
    ),
];

/// Kernel, registers, shared and local memory, as the log of `--ptxas-options=-v` has them.
fn said_by_ptxas(log: &str) -> Vec<(String, u32, u64, u64)> {
    let mut kernels = Vec::new();
    let mut name = String::new();
    for line in log.lines() {
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            name = rest.split('\'').next().unwrap().to_owned();
        } else if let Some(rest) = line.split("Used ").nth(1) {
            let number = |what: &str| {
                let part = rest.split(", ").find(|part| part.ends_with(what));
                part.map_or(0, |part| part.split(' ').next().unwrap().parse().unwrap())
            };
            let registers = u32::try_from(number(" registers")).unwrap();
            kernels.push((
                name.clone(),
                registers,
                number(" bytes smem"),
                number(" bytes cumulative stack size"),
            ));
        }
    }
    kernels.sort();
    kernels
}

#[test]
fn the_numbers_are_those_of_ptxas() {
    for (which, cubin, log) in SAMPLES {
        let read = resources(cubin).unwrap();
        let plain =
            |kernel: &KernelResources| (kernel.kernel.clone(), kernel.registers, kernel.shared, kernel.local);
        assert_eq!(read.iter().map(plain).collect::<Vec<_>>(), said_by_ptxas(log), "{which}");
    }
}

#[test]
fn each_habit_of_the_sample_is_seen() {
    for (which, cubin, _) in SAMPLES {
        let read = resources(cubin).unwrap();
        let names: Vec<&str> = read.iter().map(|kernel| kernel.kernel.as_str()).collect();
        assert_eq!(
            names,
            ["plain", "with_array", "with_shared", "with_shared_at_launch", "with_spills"],
            "{which}"
        );
        assert_eq!(
            read.iter().map(|kernel| kernel.shared).collect::<Vec<_>>(),
            [0, 0, 1200, 0, 0],
            "{which}"
        );
        let local: Vec<bool> = read.iter().map(|kernel| kernel.local > 0).collect();
        assert_eq!(local, [false, true, false, false, true], "{which}");
        // The arguments stand behind what the driver puts there.
        assert_eq!(read[1].constant - read[2].constant, 12, "{which}: two arguments more");
    }
}

#[test]
fn other_files_are_refused_with_what_they_lack() {
    let refusal = |bytes: &[u8]| resources(bytes).unwrap_err().to_string();
    assert!(refusal(b"").contains("not a 64-bit"));
    assert!(refusal(b"\x7fELF\x02\x01").contains("cut off"));
    let mut other_machine = SAMPLE.to_vec();
    other_machine[0x12] = 62;
    assert!(refusal(&other_machine).contains("not for a GPU"));
    let mut no_sections = SAMPLE.to_vec();
    no_sections[0x3c..0x40].fill(0);
    assert!(refusal(&no_sections).contains("no names"));
}

proptest! {
    #[test]
    fn a_cut_file_is_an_error(length in 0..SAMPLE.len()) {
        // The table of sections stands near the end, in front of the program headers, which are not read.
        let table = u64::from_le_bytes(SAMPLE[0x28..0x30].try_into().unwrap()) as usize;
        let sections = usize::from(u16::from_le_bytes(SAMPLE[0x3c..0x3e].try_into().unwrap()));
        let whole = length >= table + sections * 64;
        prop_assert_eq!(resources(&SAMPLE[..length]).is_ok(), whole);
    }

    #[test]
    fn garbage_is_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(resources(&bytes).is_err());
        let mut with_head = SAMPLE[..64].to_vec();
        with_head.extend(bytes);
        let _ = resources(&with_head);
    }

    #[test]
    fn damage_is_never_a_panic(changes in proptest::collection::vec((0..SAMPLE.len(), any::<u8>()), 1..40)) {
        let mut cubin = SAMPLE.to_vec();
        for (at, byte) in changes {
            cubin[at] = byte;
        }
        let _ = resources(&cubin);
    }

    #[test]
    fn damage_where_it_hurts_is_never_a_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 1..8),
    ) {
        // The header, and the table of sections.
        let table = u64::from_le_bytes(SAMPLE[0x28..0x30].try_into().unwrap()) as usize;
        let words: Vec<usize> = (16..64).chain(table..SAMPLE.len() - 4).step_by(4).collect();
        let mut cubin = SAMPLE.to_vec();
        for (at, word) in changes {
            let at = *at.get(&words);
            cubin[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        let _ = resources(&cubin);
    }
}
