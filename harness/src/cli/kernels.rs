//! `sweep kernels`: compiling the GPU kernels, and what they take.

use std::path::PathBuf;

use runtime::backend::cuda::kernels::{
    Compiler, CubinEntry, CubinFolder, Folders, KernelResources, Nvrtc, SOURCES, build, resources,
};
use serde::Serialize;

use super::arguments::{KernelsBuildArguments, KernelsListArguments, KernelsVerb};
use super::print::table;
use super::{CliError, Printer};
use crate::verdict::ExitCode;

/// Version of the JSON form.
const FORMAT_VERSION: u32 = 1;

/// `sweep kernels build` and `list`.
pub(super) fn kernels(verb: &KernelsVerb, printer: &Printer) -> Result<ExitCode, CliError> {
    match verb {
        KernelsVerb::Build(arguments) => build_missing(arguments, printer),
        KernelsVerb::List(arguments) => list(arguments, printer),
    }
}

fn build_missing(arguments: &KernelsBuildArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let folder = match &arguments.out {
        Some(out) => CubinFolder::new(out),
        None => Folders::of_environment().own.ok_or(CliError::Knob {
            what: "there is no folder to keep kernels in: neither HOME nor XDG_CACHE_HOME is set",
            hint: "`--out DIR` names one",
        })?,
    };
    let nvrtc = Nvrtc::open(arguments.nvrtc.as_deref())?;
    printer.note(&format!("NVRTC {} from {}", nvrtc.version(), nvrtc.path().display()));
    let mut answer = Ok(());
    build(SOURCES, &arguments.architectures, &nvrtc, &folder, &mut |built| {
        if !built.log.is_empty() {
            printer.note(&built.log);
        }
        let state = if built.compiled { "compiled" } else { "was there" };
        let line = format!("{} {}: {state}, {}", built.operator, built.architecture, built.path.display());
        if answer.is_ok() {
            answer = printer.line(&line);
        }
    })?;
    answer.map(|()| ExitCode::Pass)
}

#[derive(Serialize)]
struct Listing {
    format_version: u32,
    kernels: Vec<KernelLine>,
    /// Files that are named as cubins and cannot be trusted; they are compiled again when they are needed.
    damaged: Vec<PathBuf>,
}

/// One kernel of one cubin.
#[derive(Serialize)]
struct KernelLine {
    operator: String,
    kernel: String,
    architecture: String,
    nvrtc: String,
    registers: u32,
    shared_bytes: u64,
    local_bytes: u64,
    constant_bytes: u64,
    /// False where it was compiled from another text than this program's.
    current: bool,
    path: PathBuf,
}

fn list(arguments: &KernelsListArguments, printer: &Printer) -> Result<ExitCode, CliError> {
    let folders: Vec<CubinFolder> = match &arguments.dir {
        Some(dir) => vec![CubinFolder::new(dir)],
        None => Folders::of_environment().all().cloned().collect(),
    };
    let mut listing = Listing { format_version: FORMAT_VERSION, kernels: Vec::new(), damaged: Vec::new() };
    for (path, entry) in folders.iter().flat_map(CubinFolder::entries) {
        let read = entry.and_then(|entry| Some((resources(&entry.cubin).ok()?, entry)));
        match read {
            Some((kernels, entry)) => {
                listing.kernels.extend(kernels.into_iter().map(|kernel| KernelLine::new(&entry, kernel)));
            }
            None => listing.damaged.push(path),
        }
    }
    match arguments.json {
        true => printer.json(&listing)?,
        false => printer.text(&text(&listing))?,
    }
    Ok(ExitCode::Pass)
}

impl KernelLine {
    fn new(entry: &CubinEntry, resources: KernelResources) -> KernelLine {
        let record = &entry.record;
        let is_current = |source: &runtime::backend::cuda::kernels::KernelSource| {
            source.operator == record.operator && source.sha256() == record.source_sha256
        };
        KernelLine {
            operator: record.operator.clone(),
            kernel: resources.kernel,
            architecture: record.architecture.clone(),
            nvrtc: record.nvrtc.clone(),
            registers: resources.registers,
            shared_bytes: resources.shared,
            local_bytes: resources.local,
            constant_bytes: resources.constant,
            current: SOURCES.iter().any(is_current),
            path: entry.path.clone(),
        }
    }
}

fn text(listing: &Listing) -> String {
    if listing.kernels.is_empty() && listing.damaged.is_empty() {
        return "no kernels are compiled: `sweep kernels build --arch ARCH` does that, and so does the first use of a GPU\n".to_owned();
    }
    let head = [
        "kernel",
        "operator",
        "arch",
        "nvrtc",
        "registers",
        "shared B",
        "local B",
        "constant B",
        "",
        "where",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(listing.kernels.iter().map(|line| {
        vec![
            line.kernel.clone(),
            line.operator.clone(),
            line.architecture.clone(),
            line.nvrtc.clone(),
            line.registers.to_string(),
            line.shared_bytes.to_string(),
            line.local_bytes.to_string(),
            line.constant_bytes.to_string(),
            if line.current { "" } else { "stale" }.to_owned(),
            line.path.display().to_string(),
        ]
    }));
    let damaged = listing.damaged.iter().map(|path| format!("damaged: {}\n", path.display()));
    table(&rows) + &damaged.collect::<String>()
}
