//! Keys, and what is trusted.

use std::fs;

use super::{HOPPER, ORIN, SOURCES, version};
use crate::backend::cuda::kernels::{CubinFolder, Folders, KernelSource};

fn folder() -> (tempfile::TempDir, CubinFolder) {
    let directory = tempfile::tempdir().unwrap();
    let folder = CubinFolder::new(directory.path().join("made/when/needed"));
    (directory, folder)
}

#[test]
fn what_was_stored_is_found_by_its_whole_key() {
    let (_directory, folder) = folder();
    let path = folder.store(&SOURCES[0], ORIN, version(12, 6), b"a cubin").unwrap();
    let entry = folder.find_compiled(&SOURCES[0], ORIN, version(12, 6)).unwrap();
    assert_eq!((entry.path, entry.cubin.as_slice()), (path, b"a cubin".as_slice()));
    let edited = KernelSource { files: &[("edited.cu", "edited")], ..SOURCES[0] };
    let renamed = KernelSource { operator: "rms_norm", ..SOURCES[0] };
    assert_eq!(folder.find_compiled(&edited, ORIN, version(12, 6)), None);
    assert_eq!(folder.find_compiled(&renamed, ORIN, version(12, 6)), None);
    assert_eq!(folder.find_compiled(&SOURCES[0], HOPPER, version(12, 6)), None);
    assert_eq!(folder.find_compiled(&SOURCES[0], ORIN, version(12, 60)), None);
    assert_eq!(folder.find_compiled(&SOURCES[0], ORIN, version(13, 0)), None);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left of the writing");
}

#[test]
fn any_compiler_will_do_and_the_oldest_is_taken() {
    let (_directory, folder) = folder();
    assert_eq!(folder.find(&SOURCES[0], ORIN), None);
    for (number, name) in [(13, "new"), (12, "old"), (9, "oldest")] {
        folder.store(&SOURCES[0], ORIN, version(number, 0), name.as_bytes()).unwrap();
        assert_eq!(folder.find(&SOURCES[0], ORIN).unwrap().cubin, name.as_bytes());
    }
    assert_eq!(folder.find(&KernelSource { files: &[("edited.cu", "edited")], ..SOURCES[0] }, ORIN), None);
    assert_eq!(folder.find(&SOURCES[0], "sm_87a".parse().unwrap()), None);
}

#[test]
fn what_is_damaged_is_as_good_as_not_there() {
    let (_directory, folder) = folder();
    let store = || folder.store(&SOURCES[0], ORIN, version(12, 6), b"a cubin").unwrap();
    let record = |path: &std::path::Path| path.with_extension("cubin.json");
    let damages: [&dyn Fn(&std::path::Path); 6] = [
        &|path| fs::write(path, "another").unwrap(),
        &|path| fs::write(path, "").unwrap(),
        &|path| fs::remove_file(path).unwrap(),
        &|path| fs::remove_file(record(path)).unwrap(),
        &|path| fs::write(record(path), "{").unwrap(),
        &|path| {
            let text = fs::read_to_string(record(path)).unwrap();
            fs::write(record(path), text.replace("\"format_version\": 1", "\"format_version\": 2")).unwrap();
        },
    ];
    for (number, damage) in damages.iter().enumerate() {
        let path = store();
        assert!(folder.find(&SOURCES[0], ORIN).is_some());
        damage(&path);
        assert_eq!(folder.find(&SOURCES[0], ORIN), None, "damage {number}");
        assert_eq!(folder.find_compiled(&SOURCES[0], ORIN, version(12, 6)), None, "damage {number}");
        assert!(folder.entries().iter().all(|(_, entry)| entry.is_none()), "damage {number}");
    }
    store();
    assert!(folder.find(&SOURCES[0], ORIN).is_some(), "it is mended by storing it again");
}

#[test]
fn another_source_with_the_same_beginning_of_its_hash_is_not_taken_for_it() {
    let (_directory, folder) = folder();
    let path = folder.store(&SOURCES[0], ORIN, version(12, 6), b"a cubin").unwrap();
    let record = path.with_extension("cubin.json");
    let hash = SOURCES[0].sha256();
    let other = format!("{}{}", &hash[..32], "0".repeat(32));
    fs::write(&record, fs::read_to_string(&record).unwrap().replace(&hash, &other)).unwrap();
    assert_eq!(folder.find(&SOURCES[0], ORIN), None);
}

#[test]
fn the_shipped_folder_goes_first_and_the_own_one_fills_its_gaps() {
    let (_first, shipped) = folder();
    let (_second, own) = folder();
    own.store(&SOURCES[0], ORIN, version(12, 0), b"own").unwrap();
    own.store(&SOURCES[1], ORIN, version(12, 0), b"own").unwrap();
    shipped.store(&SOURCES[0], ORIN, version(13, 0), b"shipped").unwrap();
    let folders = Folders { shipped: Some(shipped), own: Some(own) };
    assert_eq!(folders.find(&SOURCES[0], ORIN).unwrap().cubin, b"shipped");
    assert_eq!(folders.find(&SOURCES[1], ORIN).unwrap().cubin, b"own");
    assert_eq!(folders.find(&SOURCES[1], HOPPER), None);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error =
        CubinFolder::new(file.join("kernels")).store(&SOURCES[0], ORIN, version(12, 6), b"x").unwrap_err();
    assert!(error.to_string().contains("file/kernels: "), "{error}");
}
