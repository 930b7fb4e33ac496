//! What the fuzz targets have in common: a folder in main memory for readers that read files.

use std::path::Path;

/// A folder for one input after the other.
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// A new folder with these folders in it; in memory where the system has such a place.
    pub fn with(folders: &[&str]) -> Folder {
        let memory = Path::new("/dev/shm");
        let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let made = made.expect("a folder can be made");
        for folder in folders {
            std::fs::create_dir(made.path().join(folder)).expect("the folder is new");
        }
        Folder(made)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes the file `name`.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path().join(name), bytes).expect("the folder can be written");
    }
}

/// The input in `N` parts, divided by the byte 0xff; parts that it does not have are empty.
pub fn parts<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut parts = input.splitn(N, |byte| *byte == 0xff);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}
