//! As much of the ELF format as a cubin needs: its sections.

use super::cubin::CubinError;

const CLASS_64_LITTLE_ENDIAN: &[u8] = b"\x7fELF\x02\x01";
const MACHINE_CUDA: u16 = 190;
const SECTION_HEADER: usize = 64;
/// The type of a section that takes memory and has no bytes in the file.
const NO_BITS: u32 = 8;

/// A file, with its sections.
pub(super) struct Elf<'a> {
    /// `e_ident[EI_ABIVERSION]`.
    pub(super) abi_version: u8,
    /// `e_flags`.
    pub(super) flags: u32,
    sections: Vec<Section<'a>>,
}

/// A section of the file.
pub(super) struct Section<'a> {
    name: &'a str,
    /// Bytes in memory.
    pub(super) size: u64,
    /// Bytes in the file.
    pub(super) bytes: &'a [u8],
}

impl<'a> Elf<'a> {
    /// Reads the table of sections.
    pub(super) fn read(file: &'a [u8]) -> Result<Elf<'a>, CubinError> {
        if !file.starts_with(CLASS_64_LITTLE_ENDIAN) {
            return Err(CubinError("it is not a 64-bit little-endian ELF file"));
        }
        let header = Header::read(file).ok_or(CubinError("its header is cut off"))?;
        if header.machine != MACHINE_CUDA {
            return Err(CubinError("it is not for a GPU"));
        }
        let length = header.sections * SECTION_HEADER;
        let table = slice(file, header.table, length).ok_or(CubinError("its sections are cut off"))?;
        let names =
            table.chunks_exact(SECTION_HEADER).nth(header.names).and_then(|names| content(file, names));
        let names = names.ok_or(CubinError("its sections have no names"))?;
        let sections = table.chunks_exact(SECTION_HEADER).map(|section| {
            Some(Section {
                name: string(names, u32_at(section, 0)?)?,
                size: u64_at(section, 32)?,
                bytes: content(file, section)?,
            })
        });
        let sections = sections.collect::<Option<_>>().ok_or(CubinError("a section is cut off"))?;
        Ok(Elf { abi_version: header.abi_version, flags: header.flags, sections })
    }

    /// The first section of this name.
    pub(super) fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|section| section.name == name)
    }
}

struct Header {
    abi_version: u8,
    machine: u16,
    flags: u32,
    /// Where the table of sections begins.
    table: u64,
    sections: usize,
    /// Which section holds the names of all.
    names: usize,
}

impl Header {
    fn read(file: &[u8]) -> Option<Header> {
        Some(Header {
            abi_version: *file.get(8)?,
            machine: u16_at(file, 0x12)?,
            flags: u32_at(file, 0x30)?,
            table: u64_at(file, 0x28)?,
            sections: u16_at(file, 0x3c)?.into(),
            names: u16_at(file, 0x3e)?.into(),
        })
    }
}

/// The bytes of a section in the file; `None` if they lie outside it.
fn content<'a>(file: &'a [u8], section: &[u8]) -> Option<&'a [u8]> {
    match u32_at(section, 4)? {
        NO_BITS => Some(&[]),
        _ => slice(file, u64_at(section, 24)?, usize::try_from(u64_at(section, 32)?).ok()?),
    }
}

/// The text at `at` of a table of strings, up to its 0.
pub(super) fn string(table: &[u8], at: u32) -> Option<&str> {
    let text = table.get(at as usize..)?;
    let end = text.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(&text[..end]).ok()
}

fn slice(bytes: &[u8], at: u64, length: usize) -> Option<&[u8]> {
    let at = usize::try_from(at).ok()?;
    bytes.get(at..at.checked_add(length)?)
}

fn array<const N: usize>(bytes: &[u8], at: u64) -> Option<[u8; N]> {
    slice(bytes, at, N)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: u64) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

/// The number at `at`; `None` where the bytes end before.
pub(super) fn u32_at(bytes: &[u8], at: u64) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: u64) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}
