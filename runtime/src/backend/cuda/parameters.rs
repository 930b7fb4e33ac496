//! Numbers that change from pass to pass (positions, token ids, rows), and what comes back: through pinned memory.

use cudarc::driver::sys;

use super::context::Context;
use super::error::{CudaError, check};
use super::memory::{Address, DeviceBuffer};
use crate::memory::Buffer;

/// Pinned memory of this process and its counterpart on the device.
#[derive(Debug)]
pub(super) struct Parameters {
    staging: Pinned,
    device: DeviceBuffer,
    /// Numbers put so far.
    used: usize,
    /// How many of them have been sent.
    sent: usize,
    /// Bytes of the second half that rows are sent from.
    written: usize,
    /// Numbers that fit.
    room: usize,
}

impl Parameters {
    /// The first `room` numbers of `device` are for what kernels read. They are sent through the front of `staging`, and the rest
    /// of it is for what is read back.
    pub(super) fn new(staging: Pinned, device: DeviceBuffer, room: usize) -> Parameters {
        let room = room.min(staging.bytes() / 2 / size_of::<u32>());
        Parameters { staging, device, used: 0, sent: 0, written: 0, room }
    }

    /// Keeps `numbers` for the pass that is being recorded. Returns where they will stand.
    pub(super) fn put(&mut self, numbers: &[u32]) -> Result<Address, CudaError> {
        let start = self.used;
        if start + numbers.len() > self.room {
            return Err(CudaError::Unsupported {
                what: format!("a pass with more than {} positions and ids", self.room),
            });
        }
        self.staging.numbers_mut()[start..start + numbers.len()].copy_from_slice(numbers);
        // Every run starts on 16 bytes.
        self.used = (start + numbers.len()).next_multiple_of(4);
        Ok(self.device.start() + (start * size_of::<u32>()) as u64)
    }

    /// Sends what was put since the last time.
    pub(super) fn send(&mut self, context: &Context) -> Result<(), CudaError> {
        let start = self.sent * size_of::<u32>();
        let bytes = (self.used - self.sent) * size_of::<u32>();
        self.sent = self.used;
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: both ranges hold as many bytes, and the pinned ones stay as they are until the pass has ended: the next numbers
        // stand behind them until the queue has waited and says `clear`.
        check("send numbers", unsafe {
            sys::cuMemcpyHtoDAsync_v2(
                self.device.start() + start as u64,
                self.staging.pointer().add(start).cast(),
                bytes,
                context.stream(),
            )
        })
    }

    /// Begins the next pass, when all that was sent has arrived and been read.
    pub(super) fn clear(&mut self) {
        (self.used, self.sent, self.written) = (0, 0, 0);
    }

    /// Sends a row that the host has made to `to`, through the second half of the staging memory.
    pub(super) fn write_row(&mut self, context: &Context, to: Address, row: &[f32]) -> Result<(), CudaError> {
        context.enter()?;
        let half = self.staging.bytes() / 2;
        for (index, part) in row.chunks(half / size_of::<f32>()).enumerate() {
            let bytes = size_of_val(part);
            if self.written + bytes > half {
                context.wait()?;
                self.written = 0;
            }
            let start = half + self.written;
            self.written += bytes;
            let to = to + (index * half) as u64;
            let staged = &mut self.staging.bytes_mut()[start..start + bytes];
            for (staged, value) in staged.as_chunks_mut::<4>().0.iter_mut().zip(part) {
                *staged = value.to_ne_bytes();
            }
            // SAFETY: the row has as many bytes at `to`, and those in pinned memory stay until the copy has ended: they are written
            // again only after a wait, or by a copy behind this one.
            check("write its memory", unsafe {
                sys::cuMemcpyHtoDAsync_v2(to, staged.as_ptr().cast(), bytes, context.stream())
            })?;
        }
        Ok(())
    }

    /// Bytes of the device, once all that was started has ended.
    pub(super) fn read(
        &mut self,
        context: &Context,
        from: Address,
        into: &mut [u8],
    ) -> Result<(), CudaError> {
        let half = self.staging.bytes() / 2;
        for (index, part) in into.chunks_mut(half).enumerate() {
            let from = from + (index * half) as u64;
            // SAFETY: the second half of the staging memory is nobody else's, and it is read after the copy has ended.
            check("read its memory", unsafe {
                sys::cuMemcpyDtoHAsync_v2(
                    self.staging.pointer().add(half).cast(),
                    from,
                    part.len(),
                    context.stream(),
                )
            })?;
            context.wait()?;
            self.clear();
            part.copy_from_slice(&self.staging.bytes_slice()[half..half + part.len()]);
        }
        Ok(())
    }
}

/// Planned memory of this process that the driver may read and write by itself.
#[derive(Debug)]
pub(super) struct Pinned {
    _registration: Registration,
    buffer: Buffer,
}

impl Pinned {
    /// Pins the committed part of `buffer`.
    pub(super) fn new(mut buffer: Buffer) -> Result<Pinned, CudaError> {
        Ok(Pinned { _registration: Registration::new(&mut buffer)?, buffer })
    }

    pub(super) fn bytes(&self) -> usize {
        self.buffer.committed()
    }

    pub(super) fn pointer(&self) -> *mut u8 {
        self.buffer.slice::<u8>().as_ptr().cast_mut()
    }

    pub(super) fn bytes_slice(&self) -> &[u8] {
        self.buffer.slice()
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.slice_mut()
    }

    fn numbers_mut(&mut self) -> &mut [u32] {
        // SAFETY: whole pages, and every bit pattern is a number.
        unsafe { std::slice::from_raw_parts_mut(self.pointer().cast(), self.bytes() / 4) }
    }
}

/// That the driver may read and write some memory of this process by itself. It has to go before the memory does, whoever has that.
#[derive(Debug)]
pub(super) struct Registration {
    start: usize,
}

impl Registration {
    /// For the committed part of `buffer`.
    pub(super) fn new(buffer: &mut Buffer) -> Result<Registration, CudaError> {
        let bytes = buffer.slice_mut::<u8>();
        // SAFETY: whole pages of this process, which stay mapped until they are unregistered.
        check("pin memory", unsafe { sys::cuMemHostRegister_v2(bytes.as_mut_ptr().cast(), bytes.len(), 0) })?;
        Ok(Registration { start: bytes.as_ptr().expose_provenance() })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let start = std::ptr::with_exposed_provenance_mut(self.start);
        // SAFETY: registered by `new`; whoever holds it has waited for the copies through it.
        unsafe { sys::cuMemHostUnregister(start) };
    }
}
