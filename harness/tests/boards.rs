//! Every reader over recorded machines, and over what goes wrong on real ones.

use std::fs;
use std::path::{Path, PathBuf};

use harness::doctor::{Diagnosis, DiskCheck, check_needs};
use harness::probe::board::{Clocks, PowerModes, PowerRails, Thermal, Throttle};
use harness::probe::nvmap::{Nvmap, NvmapPool, parse_allocations};
use harness::probe::tegrastats::TegraLine;
use harness::probe::{
    Conditions, GpuWitness, MemInfo, Nvml, OwnProcess, PROBE_IDS, Probe, ProcessMemory, ProcessTree, Swap,
    SystemMemory, SystemRoot, catalogue,
};
use harness::record::Reading;
use harness::scenario::Needs;
use ledger::Bytes;

const BOARDS: [&str; 6] =
    ["orin-nx-16gb", "orin-nano-8gb", "agx-orin-64gb", "agx-thor", "x86-discrete-gpu", "x86-no-gpu"];

fn folder(board: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/boards").join(board)
}

fn recorded(board: &str) -> SystemRoot {
    SystemRoot::recorded(&folder(board)).expect("a recorded tree")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("writable");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let (kind, to) = (entry.file_type().expect("known"), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path()).expect("a link"), to).expect("writable");
        } else {
            fs::copy(entry.path(), to).expect("writable");
        }
    }
}

/// A copy of a board that a test may change.
fn changeable(board: &str) -> (tempfile::TempDir, SystemRoot) {
    let copied = tempfile::tempdir().expect("a folder");
    copy(&folder(board), copied.path());
    let root = SystemRoot::recorded(copied.path()).expect("a recorded tree");
    (copied, root)
}

fn write(copied: &tempfile::TempDir, path: &str, text: &str) {
    let path = copied.path().join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
    fs::write(path, text).expect("writable");
}

fn diagnosis(root: &SystemRoot) -> Diagnosis {
    Diagnosis::of(root, Path::new("engines"), DiskCheck::Rate)
}

fn why<T: std::fmt::Debug>(reading: Reading<T>) -> String {
    match reading {
        Reading::Unavailable(why) => why,
        Reading::Measured(value) => panic!("{value:?} was measured"),
    }
}

/// Which probes can be read on each board, in the order of the catalogue.
#[test]
fn every_board_is_measured_by_what_it_has() {
    let everywhere = ["process", "system", "swap"];
    let jetson = ["pressure", "tegrastats", "power_mode", "clocks", "throttle", "temperature", "power"];
    let expected = |board: &str| {
        let further: Vec<&str> = match board {
            "orin-nx-16gb" | "agx-orin-64gb" => [&jetson[..], &["nvmap"]].concat(),
            "orin-nano-8gb" => jetson.to_vec(),
            "agx-thor" => [&jetson[..], &["nvml", "nvmap"]].concat(),
            "x86-discrete-gpu" => vec!["pressure", "nvml", "clocks", "throttle", "temperature"],
            _ => vec![],
        };
        let is_there = move |id: &&str| everywhere.contains(id) || further.contains(id);
        PROBE_IDS.into_iter().filter(is_there).collect::<Vec<_>>()
    };
    for board in BOARDS {
        let probes = catalogue(&recorded(board));
        let works = probes.iter().filter(|probe| probe.sample().measured().is_some());
        assert_eq!(works.map(|probe| probe.id()).collect::<Vec<_>>(), expected(board), "{board}");
        for probe in &probes {
            let card = probe.card();
            assert!(!card.cost.is_empty() && !card.name.is_empty(), "{board}: {}", card.id);
            if let Reading::Unavailable(why) = probe.sample() {
                assert!(!why.is_empty() && !why.contains("fixtures"), "{board}: {}: {why}", card.id);
            }
        }
    }
}

#[test]
fn who_counts_gpu_memory_follows_from_answers_and_not_from_names() {
    let witness = |board: &str| {
        let root = recorded(board);
        GpuWitness::choose(&root, &Nvml::new(&root).answers())
    };
    assert_eq!(witness("orin-nx-16gb"), Reading::Measured(GpuWitness::Nvmap));
    assert_eq!(witness("orin-nano-8gb"), Reading::Measured(GpuWitness::Estimate));
    assert_eq!(witness("agx-orin-64gb"), Reading::Measured(GpuWitness::Nvmap));
    assert_eq!(witness("agx-thor"), Reading::Measured(GpuWitness::Nvml), "nvmap is there and counts nothing");
    assert_eq!(witness("x86-discrete-gpu"), Reading::Measured(GpuWitness::Nvml));
    assert!(why(witness("x86-no-gpu")).starts_with("no GPU: "));

    // An Orin under another name is still an Orin, and a board that says it is one and has nothing of it is none.
    let (copied, root) = changeable("orin-nx-16gb");
    write(&copied, "proc/device-tree/model", "A carrier of somebody else\0");
    fs::remove_file(copied.path().join("etc/nv_tegra_release")).expect("ours");
    assert_eq!(GpuWitness::choose(&root, &Nvml::new(&root).answers()), Reading::Measured(GpuWitness::Nvmap));
    let (copied, root) = changeable("x86-no-gpu");
    write(&copied, "proc/device-tree/model", "NVIDIA Jetson Orin NX\0");
    why(GpuWitness::choose(&root, &Nvml::new(&root).answers()));
}

#[test]
fn the_estimate_is_no_smaller_than_what_nvmap_counts() {
    for board in ["orin-nx-16gb", "agx-orin-64gb"] {
        let root = recorded(board);
        let total = NvmapPool::open(&root).total(&mut [0; 8192]).expect("readable");
        let estimate = SystemMemory::open(&root).unaccounted_now();
        assert!(
            estimate.measured().is_some_and(|estimate| *estimate > total.0 as i64),
            "{board}: {estimate:?}"
        );
    }
}

#[test]
fn tegrastats_and_the_kernel_agree_on_the_size_of_memory() {
    for board in BOARDS.into_iter().filter(|board| !board.starts_with("x86")) {
        let root = recorded(board);
        let text = fs::read_to_string(folder(board).join("tegrastats.txt")).expect("readable");
        let line = text.lines().next().and_then(TegraLine::parse).expect("a line of tegrastats");
        let (_, total) = line.ram.expect("every line has it");
        let info = MemInfo::parse(root.text("/proc/meminfo").expect("readable").as_bytes());
        let difference = info.total.expect("there").signed_difference(total);
        assert!(difference.abs() <= 1 << 20, "{board}: {difference}");
        for line in text.lines() {
            let line = TegraLine::parse(line).expect("a line of tegrastats");
            assert!(line.gpu.is_some() && !line.cores.is_empty() && line.rails.len() >= 3, "{line:?}");
            assert!(line.temperature("cpu").is_some(), "{line:?}");
        }
    }
}

#[test]
fn gpu_memory_by_process_and_by_buffer() {
    let root = recorded("orin-nx-16gb");
    let nvmap = Nvmap::new(&root);
    let table = nvmap.clients().expect("readable");
    let rows: u64 = table.clients.iter().map(|client| client.bytes.0).sum();
    assert_eq!(table.total.expect("there").0 - rows, 4096, "a holder of the shared buffer has ended");
    assert_eq!(nvmap.held_by(&[4321, 4330]), Reading::Measured(Bytes::kib(5_242_878 + 2)));
    assert_eq!(nvmap.page_pool().expect("readable").held, Bytes::kib(1200 * 4 + 40 * 64));
    let text = root.text("/sys/kernel/debug/nvmap/iovmm/allocations").expect("readable");
    let clients = parse_allocations(&text);
    let of = |pid: u32| clients.iter().find(|(client, _)| client.pid == pid).expect("listed");
    let (_, buffers) = of(4321);
    assert_eq!(buffers.iter().map(|buffer| buffer.bytes).max(), Some(Bytes::gib(2)));
    assert_eq!((buffers[0].name.as_str(), buffers[0].tag), ("weights", 0x108));
    assert_eq!(of(4330).0.process, "tok (a) b) c");
    assert!(why(nvmap.held_by(&[999])).contains("lists no process"));
}

#[test]
fn in_a_container_process_numbers_of_nvmap_mean_nothing() {
    let (copied, root) = changeable("orin-nx-16gb");
    let link = copied.path().join("proc/self/ns/pid");
    fs::remove_file(&link).expect("ours");
    std::os::unix::fs::symlink("pid:[4026532291]", &link).expect("writable");
    let edge = Nvmap::new(&root).edge(&[4321]);
    let edge = edge.measured().expect("the total needs no numbers");
    assert_eq!(edge.total_bytes, Bytes::kib(5_243_284));
    assert!(why(edge.target_bytes.clone()).contains("--pid=host"));
}

#[test]
fn a_debugfs_that_may_not_be_entered_is_told_from_one_that_is_not_there() {
    let denied = why(Nvmap::new(&recorded("orin-nano-8gb")).edge(&[1]));
    assert!(denied.contains("Permission denied") && denied.contains("cannot be seen"), "{denied}");
    let missing = why(Nvmap::new(&recorded("x86-no-gpu")).edge(&[1]));
    assert!(missing.contains("no nvmap"), "{missing}");
    let clock = Clocks::new(&recorded("orin-nano-8gb")).memory().expect_err("root only");
    assert!(clock.contains("/sys/kernel/debug/bpmp"), "{clock}");
}

#[test]
fn a_sensor_that_is_switched_off_is_absent_and_the_others_stay() {
    for (board, zones, off) in [("orin-nx-16gb", 9, 3), ("orin-nano-8gb", 9, 3), ("agx-thor", 5, 1)] {
        let read = Thermal::new(&recorded(board)).read().expect("zones");
        let absent: Vec<&str> = read
            .iter()
            .filter(|zone| zone.millidegrees.measured().is_none())
            .map(|zone| zone.name.as_str())
            .collect();
        assert_eq!((read.len(), absent.len()), (zones, off), "{board}: {absent:?}");
    }
    let (name, degrees) = Thermal::new(&recorded("orin-nx-16gb")).hottest().expect("some can be read");
    assert_eq!((name.as_str(), degrees), ("tj", 63_781));

    // Half-way through a run the last one goes, too.
    let (copied, root) = changeable("agx-thor");
    let thermal = Thermal::new(&root);
    assert!(thermal.hottest().is_ok());
    for zone in 0..5 {
        fs::remove_file(copied.path().join(format!("sys/class/thermal/thermal_zone{zone}/temp")))
            .expect("ours");
    }
    assert_eq!(thermal.hottest(), Err("no zone can be read".to_owned()));
    assert!(thermal.read().expect("zones").iter().all(|zone| zone.millidegrees.measured().is_none()));
}

#[test]
fn power_is_found_wherever_hwmon_has_put_it() {
    let rails = |root: &SystemRoot| {
        let rails = PowerRails::new(root).read().expect("a monitor");
        rails.into_iter().map(|rail| (rail.name, rail.milliwatts.measured().copied())).collect::<Vec<_>>()
    };
    let named = |rails: &[(&str, u64)]| {
        rails.iter().map(|(name, power)| ((*name).to_owned(), Some(*power))).collect::<Vec<_>>()
    };
    let (copied, root) = changeable("orin-nx-16gb");
    let before = rails(&root);
    assert_eq!(before, named(&[("VDD_IN", 6654), ("VDD_CPU_GPU_CV", 2150), ("VDD_SOC", 1582)]));
    let hwmon = copied.path().join("sys/class/hwmon");
    fs::rename(hwmon.join("hwmon3"), hwmon.join("hwmon11")).expect("ours");
    fs::rename(hwmon.join("hwmon4"), hwmon.join("hwmon3")).expect("ours");
    assert_eq!(rails(&root), before, "another boot, other numbers");
    assert_eq!(Throttle::new(&root).read().expect("counters")[0].events, 1);

    // Two chips, and rails that are not connected; a chip that measures power itself, in microwatts.
    let agx = rails(&recorded("agx-orin-64gb"));
    assert_eq!(
        agx.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"]
    );
    assert_eq!(rails(&recorded("agx-thor")).last(), Some(&("VIN".to_owned(), Some(19_780))));

    // One value that cannot be read is missing, and no zero.
    fs::remove_file(hwmon.join("hwmon11/curr2_input")).expect("ours");
    assert_eq!(rails(&root)[1], ("VDD_CPU_GPU_CV".to_owned(), None));
}

#[test]
fn clocks_are_locked_only_where_none_of_them_can_move() {
    let locked = |root: &SystemRoot| Clocks::new(root).locked();
    assert_eq!(locked(&recorded("agx-orin-64gb")), Reading::Measured(true));
    assert_eq!(locked(&recorded("orin-nx-16gb")), Reading::Measured(false));
    assert!(why(locked(&recorded("x86-no-gpu"))).contains("cpufreq"));
    for (path, text) in [
        ("sys/class/devfreq/17000000.gpu/min_freq", "306000000"),
        ("sys/devices/system/cpu/cpufreq/policy8/scaling_min_freq", "729600"),
        ("sys/kernel/debug/bpmp/debug/clk/emc/mrq_rate_locked", "0"),
    ] {
        let (copied, root) = changeable("agx-orin-64gb");
        write(&copied, path, text);
        write(&copied, "sys/kernel/debug/bpmp/debug/clk/emc/rate", "2133000000");
        assert_eq!(locked(&root), Reading::Measured(false), "{path}");
    }
    // Cores that are off have no clock, and take none away from the others.
    let (copied, _) = changeable("agx-orin-64gb");
    write(&copied, "faults", "EBUSY /sys/devices/system/cpu/cpufreq/policy8/scaling_cur_freq\n");
    let root = SystemRoot::recorded(copied.path()).expect("a recorded tree");
    assert_eq!(Clocks::new(&root).cpu().expect("two groups").len(), 2);
    write(&copied, "faults", "EBUSY /sys/devices/system/cpu/cpufreq\n");
    let root = SystemRoot::recorded(copied.path()).expect("a recorded tree");
    assert!(Clocks::new(&root).cpu().is_err());
    // The GPU's node may come late.
    let (copied, root) = changeable("orin-nx-16gb");
    fs::remove_dir_all(copied.path().join("sys/class/devfreq/17000000.gpu")).expect("ours");
    assert!(Clocks::new(&root).gpu().expect_err("gone").contains("after the start"));
    assert_eq!(Clocks::new(&recorded("agx-thor")).gpu().expect("by its name").clock.max_hz, 1_575_000_000);
}

#[test]
fn power_modes_are_known_by_their_names() {
    let mode = |board: &str| PowerModes::new(&recorded(board)).current().expect("a mode");
    assert_eq!((mode("orin-nx-16gb").id, mode("orin-nx-16gb").name.as_deref()), (0, Some("MAXN_SUPER")));
    assert_eq!((mode("orin-nano-8gb").id, mode("orin-nano-8gb").name.as_deref()), (0, Some("15W")));
    let fastest = PowerModes::new(&recorded("orin-nano-8gb")).fastest().expect("there is one");
    assert_eq!((fastest.id, fastest.name.as_deref()), (2, Some("MAXN_SUPER")), "number 0 is not always it");
    assert!(PowerModes::new(&recorded("x86-no-gpu")).current().is_err());
}

#[test]
fn no_swap_is_an_answer_and_no_list_of_swap_is_none() {
    assert_eq!(Swap::new(&recorded("agx-orin-64gb")).areas().expect("a list"), []);
    assert_eq!(Swap::new(&recorded("orin-nx-16gb")).areas().expect("a list").len(), 8);
    assert!(Swap::new(&recorded("orin-nano-8gb")).zram().is_some_and(|zram| zram.taken < zram.original));
    let (copied, root) = changeable("agx-orin-64gb");
    fs::remove_file(copied.path().join("proc/swaps")).expect("ours");
    assert!(Swap::new(&root).areas().expect_err("gone").is_missing());
    assert!(diagnosis(&root).swap.size_bytes.measured().is_none());
}

#[test]
fn the_targets_tree_is_read_on_every_board_and_a_reused_number_is_left_out() {
    for board in BOARDS {
        let (copied, root) = changeable(board);
        let memory = ProcessMemory::new(ProcessTree::of(&root.proc(), 4321).expect("it is there"));
        let reading = memory.read_now().expect("alive");
        assert_eq!(
            (reading.processes, reading.resident.anonymous_bytes),
            (2, Bytes::kib(620_000)),
            "{board}"
        );
        assert_eq!(memory.proportional(), Reading::Measured(Bytes::kib(775_000)));
        // The second process ends, and somebody else gets its number.
        let stranger = "4330 (sh) S 1 9 9 0 -1 0 1 2 3 4 5 6 7 8 20 0 3 0 99999 9 9\n";
        write(&copied, "proc/4330/stat", stranger);
        memory.refresh();
        assert_eq!(memory.read_now().expect("alive").processes, 1, "{board}");
    }
}

#[test]
fn totals_that_shrink_or_vanish_are_read_as_they_are() {
    let (copied, root) = changeable("orin-nx-16gb");
    let (pool, mut buffer) = (NvmapPool::open(&root), [0; 8192]);
    let total = "sys/kernel/debug/nvmap/stats/total_memory";
    assert_eq!(pool.total(&mut buffer), Some(Bytes::kib(5_243_284)));
    // Below the sum of the clients, which were read a moment ago.
    write(&copied, total, "4096\n");
    assert_eq!(pool.total(&mut buffer), Some(Bytes(4096)));
    let edge = Nvmap::new(&root).edge(&[4321]);
    let edge = edge.measured().expect("readable");
    assert!(edge.target_bytes.measured() > Some(&edge.total_bytes));
    for text in ["", "\n", "-5\n", "18446744073709551616\n", "n/a"] {
        write(&copied, total, text);
        assert_eq!(pool.total(&mut buffer), None, "{text:?}");
    }
    let memory = SystemMemory::open(&root);
    write(&copied, "proc/meminfo", "MemTotal: 100 kB\nMemFree: 200 kB\n");
    assert!(memory.unaccounted_now().measured().is_none());
    write(&copied, "proc/meminfo", "");
    assert!(why(memory.available_now()).contains("no MemAvailable"));
}

#[test]
fn files_full_of_nonsense_make_no_reader_panic() {
    let texts = [
        "",
        "\0\0\0",
        "-1",
        "99999999999999999999999",
        "a b c d e f\n\n:",
        "\u{fffd}%@[,]",
        "{\"names\": 5}",
    ];
    for board in BOARDS {
        let (copied, root) = changeable(board);
        let files = files_below(copied.path());
        for nonsense in texts {
            files.iter().for_each(|file| fs::write(file, nonsense).expect("writable"));
            assert_eq!(diagnosis(&root).probes.len(), PROBE_IDS.len());
            let _ = ProcessTree::of(&root.proc(), 4321);
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("readable").flatten() {
        let kind = entry.file_type().expect("known");
        if kind.is_dir() {
            files.extend(files_below(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}

#[test]
fn a_mark_that_cannot_be_set_back_is_not_promised() {
    let cadence = |faults: &str| {
        let (copied, _) = changeable("x86-no-gpu");
        write(&copied, "faults", faults);
        let root = SystemRoot::recorded(copied.path()).expect("a recorded tree");
        OwnProcess::new(&root).cadence().measured().cloned().expect("readable")
    };
    assert_eq!(cadence(""), "every sample; exact peak and proportional set size at phase edges");
    assert_eq!(cadence("EACCES /proc/self/clear_refs"), "every sample; proportional set size at phase edges");
    assert_eq!(cadence("EACCES /proc/self/clear_refs\nEACCES /proc/self/smaps_rollup"), "every sample");
}

#[test]
fn a_phase_edge_records_what_the_board_has_and_leaves_out_the_rest() {
    let read = |board: &str| Conditions::new(&recorded(board)).read(&[4321, 4330]);
    let keys = |map: &std::collections::BTreeMap<String, u64>| map.keys().cloned().collect::<Vec<_>>();
    let nx = read("orin-nx-16gb");
    let nvmap = nx.nvmap.as_ref().expect("readable");
    assert_eq!(nvmap.target_bytes, Reading::Measured(Bytes::kib(5_242_880)));
    assert_eq!(nx.power_milliwatts["VDD_IN"], 6654);
    assert_eq!(nx.temperature_millidegrees["tj"], 63_781);
    assert!(!nx.temperature_millidegrees.contains_key("cv0"), "a sensor that is off is no zero");
    assert_eq!((nx.throttle_events["oc3"], nx.power_mode.as_deref()), (2, Some("MAXN_SUPER")));
    assert_eq!(keys(&nx.clock_hz), ["cpu", "gpu", "memory"]);
    assert_eq!(nx.swap_used_bytes, Some(Bytes::ZERO));
    let nano = read("orin-nano-8gb");
    assert_eq!((nano.nvmap, nano.mem_unaccounted_bytes), (None, Some(874_892 * 1024)));
    assert_eq!(
        nano.mem_used_bytes,
        Some(Bytes::kib(1_306_956)),
        "tegrastats printed 1273 MB in that capture"
    );
    assert_eq!(keys(&nano.clock_hz), ["cpu", "gpu"]);
    let bare = read("x86-no-gpu");
    assert!(
        bare.power_milliwatts.is_empty() && bare.clock_hz.is_empty() && bare.memory_pressure_us.is_none()
    );
    let form = serde_json::to_string(&bare).expect("it has a form");
    assert!(
        form.len() < 120 && form.contains("mem_unaccounted_bytes"),
        "what is absent takes no room: {form}"
    );

    // A card says when a probe is read exactly where it can be.
    for board in BOARDS {
        for card in Conditions::new(&recorded(board)).cards() {
            let probes = catalogue(&recorded(board));
            let probe = probes.iter().find(|probe| probe.id() == card.id).expect("in the catalogue");
            let readable = probe.sample().measured().is_some();
            assert_eq!(card.cadence.measured().is_some(), readable, "{board}: {}", card.id);
        }
    }
}

/// The committed form of `sweep doctor --json`.
#[test]
fn the_diagnosis_of_each_board() {
    for board in BOARDS {
        let form = serde_json::to_string_pretty(&diagnosis(&recorded(board))).expect("it has a form");
        insta::assert_snapshot!(board, form);
    }
}

#[test]
fn every_field_of_the_diagnosis_is_documented() {
    fn names(value: &serde_json::Value, into: &mut std::collections::BTreeSet<String>) {
        match value {
            serde_json::Value::Object(fields) => fields.iter().for_each(|(name, value)| {
                into.insert(name.clone());
                names(value, into);
            }),
            serde_json::Value::Array(values) => values.iter().for_each(|value| names(value, into)),
            _ => {}
        }
    }
    let mut fields = Default::default();
    for board in BOARDS {
        let mut diagnosis = diagnosis(&recorded(board));
        diagnosis.needs = check_needs(&Needs { no_swap: true, ..Needs::default() }, &diagnosis);
        names(&serde_json::to_value(diagnosis).expect("it has a form"), &mut fields);
    }
    let formats = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats.md");
    let text = fs::read_to_string(formats).expect("readable");
    let section = text.split("\n## ").find(|section| section.starts_with("`sweep doctor --json`"));
    let section = section.expect("there is a section");
    let missing: Vec<&String> =
        fields.iter().filter(|field| !section.contains(&format!("`{field}`"))).collect();
    assert!(missing.is_empty(), "docs/formats.md says nothing of {missing:?}");
}

#[test]
fn a_need_that_cannot_be_measured_is_not_met() {
    let needs = Needs {
        available_memory: Some(Bytes::gib(6)),
        free_disk: Some(Bytes(1)),
        no_swap: true,
        power_mode: Some("MAXN_SUPER".to_owned()),
        locked_clocks: true,
        probes: vec!["power".to_owned(), "nvmap".to_owned()],
    };
    let met = |board: &str| {
        let states = check_needs(&needs, &diagnosis(&recorded(board)));
        assert!(states.iter().all(|state| state.met == state.says.is_empty()), "{states:?}");
        states.iter().map(|state| state.met).collect::<Vec<_>>()
    };
    // Memory, disk (never known of a recorded tree), swap, power mode, clocks, power, nvmap.
    assert_eq!(met("orin-nx-16gb"), [true, false, false, true, false, true, true]);
    assert_eq!(met("orin-nano-8gb"), [false, false, false, false, false, true, false]);
    assert_eq!(met("agx-orin-64gb"), [true, false, true, false, true, true, true]);
    assert_eq!(met("x86-no-gpu"), [true, false, true, false, false, false, false]);
    assert_eq!(check_needs(&Needs::default(), &diagnosis(&recorded("x86-no-gpu"))), []);
}
