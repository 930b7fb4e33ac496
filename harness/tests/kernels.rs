//! `sweep kernels` without a compiler: what it says then, and what it lists. `ci/kernels.sh` has the compilers.

use std::path::Path;
use std::process::{Command, Output};

use runtime::backend::cuda::kernels::{Architecture, CompilerVersion, CubinFolder, KernelSource, SOURCES};

/// Five kernels, for `sm_87`.
const SAMPLE: &[u8] =
    include_bytes!("../../runtime/src/backend/cuda/kernels/tests/sample-sm_87-nvrtc12.6.cubin");
const VERSION: CompilerVersion = CompilerVersion { major: 12, minor: 6 };

/// `sweep kernels` with `home` as its only environment.
fn kernels(home: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sweep"))
        .arg("kernels")
        .args(arguments)
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .output()
        .expect("it starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn answer(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_compiler_that_is_not_there_is_named_with_what_to_do() {
    let home = tempfile::tempdir().expect("a folder");
    let output = kernels(home.path(), &["build", "--arch", "sm_87", "--nvrtc", "no/such.so"]);
    let error = said(&output);
    assert_eq!(output.status.code(), Some(6), "{error}");
    assert!(error.contains("\n  no/such.so: ") && error.contains("\nhint: "), "{error}");
    std::fs::write(home.path().join("text.so"), "not a library").expect("writable");
    let output = kernels(home.path(), &["build", "--arch", "sm_87", "--nvrtc", "text.so"]);
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    assert!(!home.path().join(".cache").exists(), "nothing is written");
}

#[test]
fn architectures_are_checked_before_anything_is_done() {
    let home = tempfile::tempdir().expect("a folder");
    for wrong in ["87", "sm_87,", "sm_87,compute_90", ""] {
        let output = kernels(home.path(), &["build", "--arch", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(said(&output).contains("sm_87"), "{}", said(&output));
    }
}

#[test]
fn the_list_shows_what_each_kernel_takes_and_what_is_not_to_be_trusted() {
    let home = tempfile::tempdir().expect("a folder");
    assert!(answer(&kernels(home.path(), &["list"])).contains("sweep kernels build --arch"));

    let folder = CubinFolder::new(home.path().join(".cache/sweep/kernels"));
    let orin = Architecture::of_capability(8, 7);
    let edited = KernelSource { files: &[("edited.cu", "edited")], ..SOURCES[0] };
    for source in [&SOURCES[0], &edited] {
        folder.store(source, orin, VERSION, SAMPLE).expect("writable");
    }
    std::fs::write(folder.path().join("broken.cubin"), "").expect("writable");

    let table = answer(&kernels(home.path(), &["list"]));
    let spilling = table.lines().find(|line| line.starts_with("with_spills")).expect("a line");
    assert!(spilling.contains("sm_87  ") && spilling.contains(".cache/sweep/kernels/"), "{spilling}");
    assert_eq!(table.matches(" stale ").count(), 5, "{table}");
    assert!(table.contains("damaged: ") && table.ends_with("broken.cubin\n"), "{table}");

    let json = answer(&kernels(home.path(), &["list", "--json", "--dir", ".cache/sweep/kernels"]));
    let listing: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let lines = listing["kernels"].as_array().expect("lines");
    assert_eq!(lines.len(), 10);
    let shared = lines.iter().find(|line| line["kernel"] == "with_shared" && line["current"] == true);
    let shared = shared.expect("a line");
    assert_eq!((&shared["shared_bytes"], &shared["local_bytes"]), (&1200.into(), &0.into()));
    assert_eq!((&shared["operator"], &shared["nvrtc"]), (&SOURCES[0].operator.into(), &"12.6".into()));
    assert_eq!(listing["damaged"].as_array().map(Vec::len), Some(1));
}
