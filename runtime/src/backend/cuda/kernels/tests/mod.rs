//! What the files of this folder hold together: the reader of cubins, the cache, and building.

mod build;
mod cache;
mod cubin;
mod images;

use std::cell::Cell;

use super::{Architecture, CompileError, Compiled, Compiler, CompilerVersion, KernelSource};

/// A cubin that NVRTC 12.6 made of `sample.cu` for `sm_87`.
const SAMPLE: &[u8] = include_bytes!("sample-sm_87-nvrtc12.6.cubin");

const ORIN: Architecture = Architecture::of_capability(8, 7);
const HOPPER: Architecture = Architecture::of_capability(9, 0);
const SOURCES: &[KernelSource] = &[
    KernelSource { operator: "rope", files: &[("rope.cu", "__global__ void rope() {}")] },
    KernelSource { operator: "swiglu", files: &[("swiglu.cu", "__global__ void swiglu() {}")] },
];

/// A version from its two numbers.
const fn version(major: u32, minor: u32) -> CompilerVersion {
    CompilerVersion { major, minor }
}

/// A compiler that makes the same cubin of everything, and counts.
struct FakeCompiler {
    version: CompilerVersion,
    cubin: Vec<u8>,
    calls: Cell<usize>,
}

impl FakeCompiler {
    fn new(major: u32, minor: u32) -> FakeCompiler {
        FakeCompiler { version: version(major, minor), cubin: SAMPLE.to_vec(), calls: Cell::new(0) }
    }
}

impl Compiler for FakeCompiler {
    fn version(&self) -> CompilerVersion {
        self.version
    }

    fn compile(&self, _: &KernelSource, architecture: Architecture) -> Result<Compiled, CompileError> {
        if architecture != ORIN && architecture != HOPPER {
            return Err(CompileError::UnknownArchitecture {
                architecture,
                version: self.version,
                known: vec![87, 90],
            });
        }
        self.calls.set(self.calls.get() + 1);
        Ok(Compiled { cubin: self.cubin.clone(), log: String::new() })
    }
}
