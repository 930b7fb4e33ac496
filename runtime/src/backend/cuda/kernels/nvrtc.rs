//! NVIDIA's run-time compiler, opened where it is found. Only `sweep kernels build` does that: the compiler takes 60
//! MiB and more, which a process that serves must not keep.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

use libloading::Library;

use super::compiler::{CompileError, Compiled, Compiler, CompilerVersion};
use super::search::candidates;
use super::sources::OPTIONS;
use super::{Architecture, KernelSource};

/// A `nvrtcResult`; 0 is success.
type Status = c_int;
/// A `nvrtcProgram`.
type Program = *mut c_void;

/// The status that says that the text is wrong, not the call.
const COMPILATION: Status = 6;

/// NVRTC, opened. The functions are valid as long as the library is, which is why it is kept.
#[derive(Debug)]
pub struct Nvrtc {
    version: CompilerVersion,
    path: PathBuf,
    functions: Functions,
    _library: Library,
    _builtins: Option<Library>,
}

/// No NVRTC could be opened.
#[derive(Debug, thiserror::Error)]
#[error("no NVRTC, CUDA's run-time compiler, could be opened{}", tried(.0))]
pub struct NvrtcNotFound(Vec<(PathBuf, String)>);

/// Declares the functions that are used, and how they are looked up.
macro_rules! functions {
    ($($field:ident = $symbol:literal: fn($($argument:ty),*) -> $result:ty;)*) => {
        #[derive(Debug)]
        struct Functions {
            $($field: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Functions {
            /// # Safety
            /// The library must be NVRTC, whose header gives these functions these types, and must outlive the result.
            unsafe fn of(library: &Library) -> Result<Functions, libloading::Error> {
                // SAFETY: the types are those of nvrtc.h, by the caller's word that this is NVRTC.
                unsafe { Ok(Functions { $($field: *library.get($symbol)?,)* }) }
            }
        }
    };
}

functions! {
    version = c"nvrtcVersion": fn(*mut c_int, *mut c_int) -> Status;
    error_string = c"nvrtcGetErrorString": fn(Status) -> *const c_char;
    architecture_count = c"nvrtcGetNumSupportedArchs": fn(*mut c_int) -> Status;
    architectures = c"nvrtcGetSupportedArchs": fn(*mut c_int) -> Status;
    create = c"nvrtcCreateProgram": fn(*mut Program, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char) -> Status;
    destroy = c"nvrtcDestroyProgram": fn(*mut Program) -> Status;
    compile = c"nvrtcCompileProgram": fn(Program, c_int, *const *const c_char) -> Status;
    log_size = c"nvrtcGetProgramLogSize": fn(Program, *mut usize) -> Status;
    log = c"nvrtcGetProgramLog": fn(Program, *mut c_char) -> Status;
    cubin_size = c"nvrtcGetCUBINSize": fn(Program, *mut usize) -> Status;
    cubin = c"nvrtcGetCUBIN": fn(Program, *mut c_char) -> Status;
}

impl Nvrtc {
    /// Opens the first NVRTC that can be opened: the library or folder `named`, else that of `SWEEP_NVRTC`, else those of installed
    /// toolkits and of the system's loader.
    ///
    /// # Errors
    /// Every place that was tried, with its reason.
    pub fn open(named: Option<&Path>) -> Result<Nvrtc, NvrtcNotFound> {
        let mut tried = Vec::new();
        for path in candidates(named) {
            match Nvrtc::open_library(&path) {
                Ok(nvrtc) => return Ok(nvrtc),
                Err(reason) => tried.push((path, reason)),
            }
        }
        Err(NvrtcNotFound(tried))
    }

    fn open_library(path: &Path) -> Result<Nvrtc, String> {
        // SAFETY: the file is named as NVRTC or was named by the user as such; its initialisers are those of a shared library
        // that every CUDA program loads.
        let library = unsafe { Library::new(path) }.map_err(reason)?;
        // SAFETY: as above; the result is stored beside the library.
        let functions = unsafe { Functions::of(&library) }.map_err(reason)?;
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both pointers are to integers that live through the call.
        let status = unsafe { (functions.version)(&mut major, &mut minor) };
        match (status, u32::try_from(major), u32::try_from(minor)) {
            (0, Ok(major), Ok(minor)) => {
                let version = CompilerVersion { major, minor };
                let builtins = open_builtins(path, version);
                Ok(Nvrtc {
                    version,
                    path: path.to_owned(),
                    functions,
                    _library: library,
                    _builtins: builtins,
                })
            }
            _ => Err(format!("nvrtcVersion failed with status {status}")),
        }
    }

    /// The library.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn check(&self, call: &'static str, status: Status) -> Result<(), CompileError> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the function takes any status and returns a string of the library, or null.
        let text = unsafe { (self.functions.error_string)(status) };
        let reason = match text.is_null() {
            true => format!("status {status}"),
            // SAFETY: not null, so it is a string that ends with 0 and lives as long as the library.
            false => unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
        };
        Err(CompileError::Call { version: self.version, call, reason })
    }

    /// Numbers of the architectures that it compiles for.
    fn known(&self) -> Result<Vec<u32>, CompileError> {
        let mut count = 0;
        // SAFETY: the pointer is to an integer that lives through the call.
        self.check("nvrtcGetNumSupportedArchs", unsafe { (self.functions.architecture_count)(&mut count) })?;
        let mut known = vec![0; usize::try_from(count).unwrap_or(0)];
        // SAFETY: the library writes as many integers as it has just counted.
        self.check("nvrtcGetSupportedArchs", unsafe { (self.functions.architectures)(known.as_mut_ptr()) })?;
        Ok(known.into_iter().filter_map(|number| u32::try_from(number).ok()).collect())
    }
}

impl Compiler for Nvrtc {
    fn version(&self) -> CompilerVersion {
        self.version
    }

    fn compile(&self, source: &KernelSource, architecture: Architecture) -> Result<Compiled, CompileError> {
        let version = self.version;
        let known = self.known()?;
        if !known.contains(&architecture.number()) {
            return Err(CompileError::UnknownArchitecture { architecture, version, known });
        }
        let refused = |log| CompileError::Refused { operator: source.operator, architecture, version, log };
        let c_string =
            |text: String| CString::new(text).map_err(|_| refused("there is a 0 in the text".to_owned()));
        let name = c_string(format!("{}.cu", source.operator))?;
        let options = OPTIONS.iter().map(|option| (*option).to_owned());
        let options = options.chain([format!("--gpu-architecture={architecture}")]);
        let options = options.map(c_string).collect::<Result<Vec<_>, _>>()?;
        let program = OpenProgram::create(self, &c_string(source.program())?, &name)?;
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        // SAFETY: the program is open; the array holds as many strings as is said, all of which live through the call.
        let status =
            unsafe { (self.functions.compile)(program.program, pointers.len() as c_int, pointers.as_ptr()) };
        let log = program.read("nvrtcGetProgramLog", self.functions.log_size, self.functions.log)?;
        let log = String::from_utf8_lossy(&log).trim_matches(['\0', '\n', ' ']).to_owned();
        match status {
            COMPILATION => return Err(refused(log)),
            0 => {}
            // Such as a library of built-in functions that is missing: only the log says so.
            _ if !log.is_empty() => {
                return Err(CompileError::Call { version, call: "nvrtcCompileProgram", reason: log });
            }
            _ => self.check("nvrtcCompileProgram", status)?,
        }
        let cubin = program.read("nvrtcGetCUBIN", self.functions.cubin_size, self.functions.cubin)?;
        Ok(Compiled { cubin, log })
    }
}

/// A program of NVRTC, destroyed when dropped.
struct OpenProgram<'a> {
    nvrtc: &'a Nvrtc,
    program: Program,
}

impl<'a> OpenProgram<'a> {
    fn create(nvrtc: &'a Nvrtc, text: &CStr, name: &CStr) -> Result<OpenProgram<'a>, CompileError> {
        let mut program = std::ptr::null_mut();
        let none = std::ptr::null();
        // SAFETY: text and name end with 0 and live through the call, which copies them; there are no headers, so that the
        // arrays of them may be null.
        let status =
            unsafe { (nvrtc.functions.create)(&mut program, text.as_ptr(), name.as_ptr(), 0, none, none) };
        nvrtc.check("nvrtcCreateProgram", status)?;
        Ok(OpenProgram { nvrtc, program })
    }

    /// What two functions of the library give: how many bytes, and the bytes.
    fn read(
        &self,
        call: &'static str,
        size: unsafe extern "C" fn(Program, *mut usize) -> Status,
        content: unsafe extern "C" fn(Program, *mut c_char) -> Status,
    ) -> Result<Vec<u8>, CompileError> {
        let mut bytes = 0;
        // SAFETY: the program is open; the pointer is to an integer that lives through the call.
        self.nvrtc.check(call, unsafe { size(self.program, &mut bytes) })?;
        let mut buffer = vec![0u8; bytes];
        // SAFETY: the program is open; the library writes as many bytes as it has just said.
        self.nvrtc.check(call, unsafe { content(self.program, buffer.as_mut_ptr().cast()) })?;
        Ok(buffer)
    }
}

impl Drop for OpenProgram<'_> {
    fn drop(&mut self) {
        // SAFETY: the program is open, and nothing uses it afterwards.
        unsafe { (self.nvrtc.functions.destroy)(&mut self.program) };
    }
}

/// The device functions of the library beside it. NVRTC opens them by name while it compiles, and finds them only on the
/// loader's path or where they are open already; the wheels of CUDA 13 are on no path.
fn open_builtins(nvrtc: &Path, version: CompilerVersion) -> Option<Library> {
    let folder = nvrtc.canonicalize().ok()?.parent()?.to_owned();
    // SAFETY: the file is NVRTC's own second half, which it would open itself.
    unsafe { Library::new(folder.join(format!("libnvrtc-builtins.so.{version}"))) }.ok()
}

/// What the loader says; the error itself only says which call failed.
fn reason(error: libloading::Error) -> String {
    std::error::Error::source(&error).map_or_else(|| error.to_string(), |source| source.to_string())
}

fn tried(places: &[(PathBuf, String)]) -> String {
    places.iter().map(|(path, reason)| format!("\n  {}: {reason}", path.display())).collect()
}
