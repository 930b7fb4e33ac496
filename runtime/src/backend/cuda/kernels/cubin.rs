//! What a cubin says about its kernels: an ELF file of NVIDIA's, read as far as that.
//!
//! | what | where |
//! |---|---|
//! | kernels | symbols with the entry flag |
//! | registers | attribute `REGCOUNT` of `.nv.info`. (Up to `sm_89` also the top byte of `.text.NAME`'s `sh_info`; later it is 0) |
//! | local memory | attributes `FRAME_SIZE` and `MIN_STACK_SIZE` of `.nv.info`: spilled registers, and arrays indexed at run time |
//! | shared memory | size of `.nv.shared.NAME`; from `sm_90` on with the 1 KiB that the system keeps for itself |
//! | constants | size of `.nv.constant0.NAME`: what the driver puts there, and the arguments |
//! | architecture | `e_flags`: the low byte up to ABI 7 (CUDA 12), the second byte from ABI 8 (CUDA 13) |
//!
//! Held against what ptxas itself reports (`--ptxas-options=-v`) of CUDA 12.6 and 13.0.

use super::elf::{Elf, string, u32_at};

/// What one kernel takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelResources {
    /// The kernel's name.
    pub kernel: String,
    /// 32-bit registers of a thread.
    pub registers: u32,
    /// Bytes of shared memory of a block; what is asked for at the launch is not in it.
    pub shared: u64,
    /// Bytes of local memory of a thread: spilled registers, and arrays indexed at run time. It is slow: 0 is wanted.
    pub local: u64,
    /// Bytes of the constant bank with the arguments.
    pub constant: u64,
}

/// Bytes that are no cubin, or one that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a cubin that this program can read: {0}")]
pub struct CubinError(pub(super) &'static str);

/// Bytes of an entry of the symbol table: name, type, flags, section, address, size.
const SYMBOL: usize = 24;
/// The flag of a symbol that can be launched.
const OTHER_ENTRY: u8 = 0x10;
/// Attributes with a size and as many bytes; all others hold their value in place of the size.
const FORMAT_SIZED: u8 = 4;
const FRAME_SIZE: u8 = 0x11;
const MIN_STACK_SIZE: u8 = 0x12;
const REGISTER_COUNT: u8 = 0x2f;
/// Shared memory that the system takes in every block from this architecture on, and that the section counts.
const RESERVED_FROM: u32 = 90;
const RESERVED_SHARED: u64 = 1024;
/// The last ABI with the architecture in the low byte of the flags.
const OLD_ABI: u8 = 7;

/// The kernels of a cubin, by name.
///
/// # Errors
/// Whatever the bytes are: what is missing or contradicts itself.
pub fn resources(cubin: &[u8]) -> Result<Vec<KernelResources>, CubinError> {
    let elf = Elf::read(cubin)?;
    let symbols = elf.section(".symtab").ok_or(CubinError("it has no symbols"))?.bytes;
    let names = elf.section(".strtab").ok_or(CubinError("its symbols have no names"))?.bytes;
    let info = elf.section(".nv.info").ok_or(CubinError("it has no `.nv.info`"))?.bytes;
    let attributes = attributes(info)?;
    let reserved = if architecture(&elf) >= RESERVED_FROM { RESERVED_SHARED } else { 0 };
    let mut kernels = Vec::new();
    for (index, symbol) in symbols.chunks_exact(SYMBOL).enumerate() {
        if symbol[5] & OTHER_ENTRY == 0 {
            continue;
        }
        let name =
            u32_at(symbol, 0).and_then(|at| string(names, at)).ok_or(CubinError("a symbol has no name"))?;
        if elf.section(&format!(".text.{name}")).is_none() {
            return Err(CubinError("a kernel has no code"));
        }
        let of_kernel = |wanted: &[u8]| {
            let values = attributes
                .iter()
                .filter(|(kind, symbol, _)| wanted.contains(kind) && *symbol as usize == index);
            values.map(|(_, _, value)| *value).max()
        };
        let size = |prefix: &str| elf.section(&format!("{prefix}{name}")).map_or(0, |section| section.size);
        kernels.push(KernelResources {
            registers: of_kernel(&[REGISTER_COUNT])
                .ok_or(CubinError("a kernel does not say how many registers it takes"))?,
            shared: size(".nv.shared.").saturating_sub(reserved),
            local: of_kernel(&[FRAME_SIZE, MIN_STACK_SIZE])
                .ok_or(CubinError("a kernel does not say how much stack it takes"))?
                .into(),
            constant: size(".nv.constant0."),
            kernel: name.to_owned(),
        });
    }
    if kernels.is_empty() {
        return Err(CubinError("it has no kernels"));
    }
    kernels.sort_by(|left, right| left.kernel.cmp(&right.kernel));
    Ok(kernels)
}

/// The number of the architecture; that the header is whole was seen when it was read.
fn architecture(elf: &Elf<'_>) -> u32 {
    if elf.abi_version <= OLD_ABI { elf.flags & 0xff } else { elf.flags >> 8 & 0xff }
}

/// What `.nv.info` says about symbols: attribute, symbol, value.
fn attributes(mut info: &[u8]) -> Result<Vec<(u8, u32, u32)>, CubinError> {
    let cut = CubinError("its attributes are cut off");
    let mut attributes = Vec::new();
    while !info.is_empty() {
        let [format, kind, low, high, rest @ ..] = info else { return Err(cut) };
        let length = if *format == FORMAT_SIZED { usize::from(u16::from_le_bytes([*low, *high])) } else { 0 };
        let (value, rest) = rest.split_at_checked(length).ok_or(cut.clone())?;
        if matches!(*kind, REGISTER_COUNT | FRAME_SIZE | MIN_STACK_SIZE)
            && let (Some(symbol), Some(amount)) = (u32_at(value, 0), u32_at(value, 4))
        {
            attributes.push((*kind, symbol, amount));
        }
        info = rest;
    }
    Ok(attributes)
}
