//! Building what is missing, with a compiler that counts.

use super::{FakeCompiler, HOPPER, ORIN, SOURCES};
use crate::backend::cuda::kernels::{Architecture, BuildError, CubinFolder, build};

fn built(
    compiler: &FakeCompiler,
    architectures: &[Architecture],
    folder: &CubinFolder,
) -> Vec<(&'static str, bool)> {
    let mut seen = Vec::new();
    build(SOURCES, architectures, compiler, folder, &mut |built| seen.push((built.operator, built.compiled)))
        .unwrap();
    seen
}

#[test]
fn only_what_is_missing_is_compiled() {
    let directory = tempfile::tempdir().unwrap();
    let folder = CubinFolder::new(directory.path());
    let compiler = FakeCompiler::new(12, 6);
    assert_eq!(built(&compiler, &[ORIN], &folder), [("rope", true), ("swiglu", true)]);
    let both = built(&compiler, &[ORIN, HOPPER], &folder);
    assert_eq!(both, [("rope", false), ("swiglu", false), ("rope", true), ("swiglu", true)]);
    assert_eq!(compiler.calls.get(), 4);

    std::fs::write(folder.find(&SOURCES[0], ORIN).unwrap().path, "damaged").unwrap();
    assert_eq!(built(&compiler, &[ORIN], &folder), [("rope", true), ("swiglu", false)]);

    let newer = FakeCompiler::new(13, 0);
    assert_eq!(
        built(&newer, &[ORIN], &folder),
        [("rope", true), ("swiglu", true)],
        "another compiler, another key"
    );
    assert_eq!(folder.entries().len(), 6);
}

#[test]
fn what_the_compiler_refuses_is_an_error_and_what_came_before_stays() {
    let directory = tempfile::tempdir().unwrap();
    let folder = CubinFolder::new(directory.path());
    let compiler = FakeCompiler::new(12, 6);
    let newer = Architecture::of_capability(12, 1);
    let error = build(SOURCES, &[ORIN, newer], &compiler, &folder, &mut |_| {}).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("12.6") && said.contains("sm_121") && said.contains("only for sm_87, sm_90"),
        "{said}"
    );
    assert_eq!(folder.entries().len(), 2);
}

#[test]
fn what_is_no_cubin_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let folder = CubinFolder::new(directory.path());
    let compiler = FakeCompiler { cubin: b"// PTX".to_vec(), ..FakeCompiler::new(12, 6) };
    let error = build(SOURCES, &[ORIN], &compiler, &folder, &mut |_| {}).unwrap_err();
    assert!(matches!(error, BuildError::Cubin { operator: "rope", .. }), "{error}");
    assert!(folder.entries().is_empty());
}
