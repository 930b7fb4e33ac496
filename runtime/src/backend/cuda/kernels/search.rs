//! Where NVRTC may be.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The variable that names NVRTC's library, or the folder that it is in.
pub const NVRTC_VARIABLE: &str = "SWEEP_NVRTC";

/// Names of the library, in the order in which they are tried. Packages without the compiler's development files lack the first.
const NAMES: [&str; 3] = ["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"];

/// Where libraries are inside a CUDA toolkit, beside `targets/*/lib`.
const FOLDERS: [&str; 2] = ["lib64", "lib"];

/// Where toolkits are installed, in folders that begin with `cuda`.
const INSTALLED: &str = "/usr/local";

/// What to open, best first. `named` is what the user asked for; it or [`NVRTC_VARIABLE`] is the only place then, so that a
/// wrong name is an error and not another library. Names without a folder are left to the system's loader.
pub(super) fn candidates(named: Option<&Path>) -> Vec<PathBuf> {
    candidates_in(named, &|name| std::env::var_os(name), Path::new(INSTALLED))
}

fn candidates_in(
    named: Option<&Path>,
    variable: &dyn Fn(&str) -> Option<OsString>,
    installed: &Path,
) -> Vec<PathBuf> {
    let folder_of = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(named) = named.map(Path::to_owned).or_else(|| folder_of(NVRTC_VARIABLE)) {
        let inside = libraries(&named);
        return if inside.is_empty() { vec![named] } else { inside };
    }
    let mut toolkits: Vec<PathBuf> =
        ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(|name| folder_of(name)).collect();
    toolkits.extend(installed_toolkits(installed));
    let mut found: Vec<PathBuf> = Vec::new();
    for library in toolkits.iter().flat_map(|toolkit| in_toolkit(toolkit)) {
        if !found.contains(&library) {
            found.push(library);
        }
    }
    found.extend(NAMES.iter().map(PathBuf::from));
    found
}

/// Folders of `installed` that begin with `cuda`: the one without a version first, which is what its owner chose, then the
/// newest.
fn installed_toolkits(installed: &Path) -> Vec<PathBuf> {
    let mut toolkits: Vec<(Vec<u32>, PathBuf)> = entries(installed)
        .into_iter()
        .filter_map(|path| {
            let version =
                path.file_name()?.to_str()?.strip_prefix("cuda")?.trim_start_matches('-').to_owned();
            let numbers = version.split('.').map(|number| number.parse().unwrap_or(0)).collect();
            Some((if version.is_empty() { vec![u32::MAX] } else { numbers }, path))
        })
        .collect();
    toolkits.sort_by(|left, right| right.cmp(left));
    toolkits.into_iter().map(|(_, path)| path).collect()
}

fn in_toolkit(toolkit: &Path) -> Vec<PathBuf> {
    let targets = entries(&toolkit.join("targets")).into_iter().map(|target| target.join("lib"));
    FOLDERS
        .iter()
        .map(|folder| toolkit.join(folder))
        .chain(targets)
        .flat_map(|folder| libraries(&folder))
        .collect()
}

/// NVRTC in a folder, under the names that it may have.
fn libraries(folder: &Path) -> Vec<PathBuf> {
    NAMES.iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect()
}

/// What is in a folder, sorted; nothing where it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_libraries(folder: &Path, libraries: &[&str]) {
        for library in libraries {
            let path = folder.join(library);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
    }

    fn found(folder: &Path, named: Option<&str>, variables: &[(&str, &str)]) -> Vec<String> {
        let variable = |name: &str| {
            let value = variables.iter().find(|(variable, _)| *variable == name)?.1;
            Some(if value.is_empty() { OsString::new() } else { folder.join(value).into_os_string() })
        };
        let named = named.map(|named| folder.join(named));
        let inside = |path: PathBuf| path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        candidates_in(named.as_deref(), &variable, &folder.join("local")).into_iter().map(inside).collect()
    }

    #[test]
    fn the_order_is_named_then_variables_then_installed_then_the_loader() {
        let folder = tempfile::tempdir().unwrap();
        with_libraries(
            folder.path(),
            &[
                "home/lib64/libnvrtc.so.12",
                "local/cuda/targets/aarch64-linux/lib/libnvrtc.so.12",
                "local/cuda/targets/aarch64-linux/lib/libnvrtc.so",
                "local/cuda-12.6/lib64/libnvrtc.so.12",
                "local/cuda-9.2/lib64/libnvrtc.so",
                "local/cuda-13.0/lib/libnvrtc.so.13",
                "local/other/lib64/libnvrtc.so",
                "wheel/libnvrtc.so.13",
            ],
        );
        let all = [
            "home/lib64/libnvrtc.so.12",
            "local/cuda/targets/aarch64-linux/lib/libnvrtc.so",
            "local/cuda/targets/aarch64-linux/lib/libnvrtc.so.12",
            "local/cuda-13.0/lib/libnvrtc.so.13",
            "local/cuda-12.6/lib64/libnvrtc.so.12",
            "local/cuda-9.2/lib64/libnvrtc.so",
            "libnvrtc.so",
            "libnvrtc.so.13",
            "libnvrtc.so.12",
        ];
        assert_eq!(found(folder.path(), None, &[("CUDA_HOME", "home"), ("CUDA_PATH", "home")]), all);
        assert_eq!(found(folder.path(), None, &[("CUDA_PATH", "home"), (NVRTC_VARIABLE, "")]), all);
        assert_eq!(found(folder.path(), None, &[]), all[1..]);
        let named = [(NVRTC_VARIABLE, "wheel"), ("CUDA_HOME", "home")];
        assert_eq!(found(folder.path(), None, &named), ["wheel/libnvrtc.so.13"]);
        assert_eq!(
            found(folder.path(), Some("home/lib64/libnvrtc.so.12"), &named),
            ["home/lib64/libnvrtc.so.12"]
        );
        assert_eq!(
            found(folder.path(), Some("no/such"), &named),
            ["no/such"],
            "what was named, and nothing else"
        );
    }
}
