//! The effect of single parts of the program, each compared to the same work without it.

use std::alloc::{GlobalAlloc as _, Layout, System};
use std::hint::black_box;
use std::time::Instant;

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::load::float;
use crate::report::{Figure, Target};
use crate::{Outcome, Scale};

/// Size in bytes of a block: that of an encoded chunk of a file.
const BLOCK_BYTES: usize = 400 << 10;
/// Distance in bytes of the touched bytes: a page, so that each page is touched.
const STEP_BYTES: usize = 4 << 10;

const fn figure(part: &'static str, value: f64) -> Figure {
    Figure { part, value, unit: "µs", target: Target::Small, original: None }
}

/// Returns the microseconds per round of `count` rounds.
fn each_us(count: usize, mut round: impl FnMut() -> Outcome<()>) -> Outcome<f64> {
    let begun = Instant::now();
    for _ in 0..count {
        round()?;
    }
    Ok(begun.elapsed().as_secs_f64() * 1e6 / float(count))
}

/// Measures allocating, touching and freeing a block of a chunk's size, with and without our cache in front of the C
/// library's allocator; then the two pipes of a command, limited to one page each (which keeps the order of the
/// outputs) and with the default size.
pub fn parts(scale: Scale) -> Outcome<Vec<Figure>> {
    let blocks = scale.of(20_000);
    let with_shelf = each_us(blocks, || {
        let mut block = Vec::<u8>::with_capacity(BLOCK_BYTES);
        touch(block.as_mut_ptr());
        drop(black_box(block));
        Ok(())
    })?;
    let layout = Layout::array::<u8>(BLOCK_BYTES)?;
    let without_shelf = each_us(blocks, || {
        // SAFETY: the size of the layout is not zero, the block is freed with the same layout, and nothing after its
        // end is touched.
        #[allow(unsafe_code)]
        unsafe {
            let block = System.alloc(layout);
            if !block.is_null() {
                touch(block);
                System.dealloc(black_box(block), layout);
            }
        }
        Ok(())
    })?;
    let pipes = scale.of(10_000);
    let of_a_page = each_us(pipes, || {
        for _ in 0..2 {
            let ends = pipe_with(PipeFlags::CLOEXEC | PipeFlags::DIRECT)?;
            fcntl_setpipe_size(&ends.0, STEP_BYTES)?;
            black_box(ends);
        }
        Ok(())
    })?;
    let usual = each_us(pipes, || {
        for _ in 0..2 {
            black_box(pipe_with(PipeFlags::CLOEXEC)?);
        }
        Ok(())
    })?;
    Ok(vec![
        figure("a block of 400 KiB by the shelf", with_shelf),
        figure("… by the C library", without_shelf),
        figure("two pipes of one page", of_a_page),
        figure("… as they come", usual),
    ])
}

/// Writes to each page of a block of [`BLOCK_BYTES`].
fn touch(block: *mut u8) {
    for offset in (0..BLOCK_BYTES).step_by(STEP_BYTES) {
        // SAFETY: the block has [`BLOCK_BYTES`] bytes.
        #[allow(unsafe_code)]
        unsafe {
            block.add(offset).write_volatile(1);
        }
    }
}
