//! Images: found, or made by the child, which is a function here.

use std::cell::Cell;
use std::path::PathBuf;

use super::{FakeCompiler, HOPPER, ORIN, SAMPLE, SOURCES, version};
use crate::backend::cuda::kernels::images::{images_of, run_child};
use crate::backend::cuda::kernels::{CubinFolder, Folders, KernelError, build, images, resources};

fn folders(directory: &tempfile::TempDir) -> Folders {
    let folder = |name: &str| Some(CubinFolder::new(directory.path().join(name)));
    Folders { shipped: folder("shipped"), own: folder("own") }
}

#[test]
fn missing_ones_are_compiled_once() {
    let directory = tempfile::tempdir().unwrap();
    let folders = folders(&directory);
    let starts = Cell::new(0);
    let compile = |architecture| {
        starts.set(starts.get() + 1);
        let own = folders.own.as_ref().unwrap();
        build(SOURCES, &[architecture], &FakeCompiler::new(12, 6), own, &mut |_| {}).unwrap();
        Ok(PathBuf::from("sweep"))
    };
    for _ in 0..2 {
        let images = images_of(SOURCES, ORIN, &folders, &compile).unwrap();
        let operators: Vec<&str> = images.iter().map(|image| image.operator).collect();
        assert_eq!(operators, ["rope", "swiglu"]);
        assert!(images.iter().all(|image| image.cubin == SAMPLE));
        assert_eq!(starts.get(), 1);
    }
    images_of(SOURCES, HOPPER, &folders, &compile).unwrap();
    assert_eq!(starts.get(), 2);
}

#[test]
fn shipped_ones_need_neither_a_compiler_nor_a_cache() {
    let directory = tempfile::tempdir().unwrap();
    let folders = Folders { own: None, ..folders(&directory) };
    for source in SOURCES {
        folders.shipped.as_ref().unwrap().store(source, ORIN, version(99, 9), SAMPLE).unwrap();
    }
    let compile = |_| panic!("nothing is missing");
    assert_eq!(images_of(SOURCES, ORIN, &folders, &compile).unwrap().len(), 2);
    let error = images_of(SOURCES, HOPPER, &folders, &compile).unwrap_err();
    assert!(matches!(error, KernelError::NoFolder { architecture } if architecture == HOPPER), "{error}");
    assert!(error.to_string().contains("sweep kernels build --arch sm_90 --out"), "{error}");
}

#[test]
fn a_child_with_other_kernels_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let error =
        images_of(SOURCES, ORIN, &folders(&directory), &|_| Ok(PathBuf::from("old/sweep"))).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("old/sweep") && said.contains("rope") && said.contains("same build"), "{said}");
}

#[cfg(unix)]
#[test]
fn what_a_child_says_is_in_the_error() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("sweep");
    let text = "#!/bin/sh\necho 'not this'\necho \"error: $*\" >&2\nexit 6\n";
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = run_child(&program, ORIN).unwrap_err().to_string();
    assert!(said.ends_with("(exit status: 6):\nerror: kernels build --arch sm_87"), "{said}");
    let error = run_child(&directory.path().join("none"), ORIN).unwrap_err();
    assert!(matches!(error, KernelError::Start { .. }), "{error}");
}

/// The way from end to end. `SWEEP_PROGRAM` names a built `sweep`, and NVRTC must be found.
#[test]
#[ignore = "needs NVRTC and a built program: see ci/kernels.sh"]
fn a_real_child_compiles_every_kernel() {
    for architecture in [ORIN, HOPPER] {
        let found = images(architecture).unwrap();
        assert_eq!(found.len(), crate::backend::cuda::kernels::SOURCES.len());
        assert!(found.iter().all(|image| resources(&image.cubin).is_ok()));
    }
}
