//! The global allocator of builds with musl: that of the C library, with a few large blocks kept for the next one who
//! asks. Other C libraries keep such blocks themselves, so builds with them use theirs.
//!
//! A chunk of a file passes through half a dozen blocks of 100 to 500 KiB on its way. musl asks the system for each of
//! them and gives it back at once, and copying spends half of its time on page faults. So blocks
//! from [`SMALLEST`] to [`LARGEST`] bytes are rounded up to a power of two and go through a shelf of at most
//! [`KEPT_BYTES`]; what lies there after a burst goes back by [`release`]. Nobody ever waits for the shelf: who finds
//! it taken by another thread asks the C library.
//!
//! Out of scope: small blocks, which the C library does well, and what SQLite and other C libraries ask for.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::{Mutex, MutexGuard, TryLockError};

/// The smallest size that goes through the shelf; from about here on musl asks the system for each block.
const SMALLEST: usize = 96 << 10;
/// The largest size.
const LARGEST: usize = 1 << 20;
/// What the shelf holds at most, in bytes.
const KEPT_BYTES: usize = 4 << 20;
/// How many blocks it holds at most.
const KEPT_BLOCKS: usize = 16;
/// The strictest alignment that any allocator gives unasked on every machine that we build for.
const ALIGNMENT: usize = 8;

#[cfg_attr(target_env = "musl", global_allocator)]
static ALLOCATOR: LargeBlocks = LargeBlocks::new();

/// Gives the blocks on the shelf back to the C library.
pub fn release() {
    ALLOCATOR.release();
}

struct LargeBlocks {
    shelf: Mutex<Shelf>,
}

/// Free blocks, the one that came last at the end.
struct Shelf {
    blocks: [Block; KEPT_BLOCKS],
    count: usize,
    bytes: usize,
}

#[derive(Clone, Copy)]
struct Block {
    address: usize,
    bytes: usize,
}

const NONE: Block = Block { address: 0, bytes: 0 };

impl Shelf {
    /// Takes the block of exactly `bytes` that came last; the processor may still have it in its cache.
    fn take(&mut self, bytes: usize) -> Option<*mut u8> {
        let held = self.blocks.get_mut(..self.count)?;
        let at = held.iter().rposition(|block| block.bytes == bytes)?;
        let rest = held.get_mut(at..)?;
        rest.rotate_left(1);
        let block = std::mem::replace(rest.last_mut()?, NONE);
        self.count -= 1;
        self.bytes -= block.bytes;
        Some(std::ptr::with_exposed_provenance_mut(block.address))
    }

    /// Keeps a free block where there is room; `false` leaves it to the caller.
    fn put(&mut self, pointer: *mut u8, bytes: usize) -> bool {
        if self.bytes + bytes > KEPT_BYTES {
            return false;
        }
        let Some(place) = self.blocks.get_mut(self.count) else { return false };
        *place = Block { address: pointer.expose_provenance(), bytes };
        self.count += 1;
        self.bytes += bytes;
        true
    }
}

/// The layout under which the C library knows a block that goes through the shelf; `None` for a size that does not.
fn rounded(layout: Layout) -> Option<Layout> {
    if !(SMALLEST..=LARGEST).contains(&layout.size()) || layout.align() > ALIGNMENT {
        return None;
    }
    Layout::from_size_align(layout.size().next_power_of_two(), ALIGNMENT).ok()
}

impl LargeBlocks {
    const fn new() -> Self {
        Self { shelf: Mutex::new(Shelf { blocks: [NONE; KEPT_BLOCKS], count: 0, bytes: 0 }) }
    }

    /// The shelf, unless another thread has it.
    fn shelf(&self) -> Option<MutexGuard<'_, Shelf>> {
        match self.shelf.try_lock() {
            Ok(shelf) => Some(shelf),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn take(&self, bytes: usize) -> Option<*mut u8> {
        self.shelf()?.take(bytes)
    }

    fn release(&self) {
        for size in std::iter::successors(Some(SMALLEST.next_power_of_two()), |size| size.checked_mul(2)) {
            if size > LARGEST {
                break;
            }
            let Ok(layout) = Layout::from_size_align(size, ALIGNMENT) else { break };
            while let Some(pointer) = self.take(size) {
                // SAFETY: what lies on the shelf came from `System` with this layout and belongs to nobody.
                unsafe { System.dealloc(pointer, layout) };
            }
        }
    }
}

// SAFETY: blocks come from `System` and go back to it under the layout that `rounded` gives, which depends on the
// layout of the caller alone; a rounded block is as large and as aligned as asked for or more. A block is on the shelf,
// or with one owner.
unsafe impl GlobalAlloc for LargeBlocks {
    // SAFETY: the caller keeps the conditions of `GlobalAlloc::alloc`.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(whole) = rounded(layout) else {
            // SAFETY: passed on as it came.
            return unsafe { System.alloc(layout) };
        };
        // SAFETY: the size is not 0.
        self.take(whole.size()).unwrap_or_else(|| unsafe { System.alloc(whole) })
    }

    // SAFETY: the caller keeps the conditions of `GlobalAlloc::alloc_zeroed`.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(whole) = rounded(layout) else {
            // SAFETY: passed on as it came.
            return unsafe { System.alloc_zeroed(layout) };
        };
        let Some(pointer) = self.take(whole.size()) else {
            // SAFETY: the size is not 0.
            return unsafe { System.alloc_zeroed(whole) };
        };
        // SAFETY: a block from the shelf has the size of `whole`, which is no less than that of `layout`, and is nobody
        // else's.
        unsafe { pointer.write_bytes(0, layout.size()) };
        pointer
    }

    // SAFETY: the caller keeps the conditions of `GlobalAlloc::dealloc`.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some(whole) = rounded(layout) else {
            // SAFETY: passed on as it came; such a block came from `System` under the same layout.
            return unsafe { System.dealloc(pointer, layout) };
        };
        if !self.shelf().is_some_and(|mut shelf| shelf.put(pointer, whole.size())) {
            // SAFETY: it came from `System` under `whole`, because the same layout was rounded then.
            unsafe { System.dealloc(pointer, whole) };
        }
    }

    // SAFETY: the caller keeps the conditions of `GlobalAlloc::realloc`.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller guarantees that `new_size` is not 0 and does not overflow when it is rounded up to the
        // alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (rounded(layout), rounded(new_layout)) {
            // SAFETY: passed on as it came.
            (None, None) => unsafe { System.realloc(pointer, layout, new_size) },
            (Some(old), Some(new)) if old.size() == new.size() => pointer,
            _ => {
                // SAFETY: as the caller guarantees for the new layout.
                let moved = unsafe { self.alloc(new_layout) };
                if !moved.is_null() {
                    // SAFETY: both blocks hold as many bytes and are different blocks; the old one was the caller's.
                    unsafe {
                        moved.copy_from_nonoverlapping(pointer, layout.size().min(new_size));
                        self.dealloc(pointer, layout);
                    }
                }
                moved
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 1).unwrap()
    }

    /// Returns a block of `bytes`, written to from one end to the other.
    fn block(allocator: &LargeBlocks, bytes: usize, fill: u8) -> *mut u8 {
        // SAFETY: the size is not 0, and the block is that large.
        unsafe {
            let pointer = allocator.alloc(layout(bytes));
            assert!(!pointer.is_null());
            pointer.write_bytes(fill, bytes);
            pointer
        }
    }

    fn free(allocator: &LargeBlocks, pointer: *mut u8, bytes: usize) {
        // SAFETY: the tests give back what they got, once.
        unsafe { allocator.dealloc(pointer, layout(bytes)) };
    }

    fn contents<'a>(pointer: *mut u8, bytes: usize) -> &'a [u8] {
        // SAFETY: the tests pass a block of that many bytes which is written to and not given back before the slice was
        // looked at.
        unsafe { std::slice::from_raw_parts(pointer, bytes) }
    }

    fn kept(allocator: &LargeBlocks) -> (usize, usize) {
        let shelf = allocator.shelf().unwrap();
        (shelf.count, shelf.bytes)
    }

    #[test]
    fn a_large_block_serves_the_next_one_of_its_class_and_goes_back_in_the_end() {
        let allocator = LargeBlocks::new();
        let first = block(&allocator, 200_000, 1);
        free(&allocator, first, 200_000);
        assert_eq!(kept(&allocator), (1, 262_144));
        let other_class = block(&allocator, 300_000, 2);
        assert_eq!(kept(&allocator), (1, 262_144));
        let again = block(&allocator, 140_000, 3);
        assert_eq!((again, kept(&allocator)), (first, (0, 0)));
        free(&allocator, other_class, 300_000);
        free(&allocator, again, 140_000);
        allocator.release();
        assert_eq!(kept(&allocator), (0, 0));
    }

    #[test]
    fn the_shelf_has_bounds_and_small_or_huge_blocks_never_lie_on_it() {
        let allocator = LargeBlocks::new();
        for bytes in [1, SMALLEST - 1, LARGEST + 1] {
            free(&allocator, block(&allocator, bytes, 1), bytes);
            assert_eq!(kept(&allocator), (0, 0), "{bytes}");
        }
        for (bytes, count) in [(SMALLEST, KEPT_BLOCKS), (LARGEST, KEPT_BYTES / LARGEST)] {
            let blocks: Vec<_> = (0..20).map(|_| block(&allocator, bytes, 1)).collect();
            blocks.into_iter().for_each(|pointer| free(&allocator, pointer, bytes));
            assert_eq!(kept(&allocator).0, count);
            allocator.release();
        }
    }

    #[test]
    fn zeroed_blocks_are_zero_even_when_they_were_used() {
        let allocator = LargeBlocks::new();
        free(&allocator, block(&allocator, 150_000, 9), 150_000);
        // SAFETY: the size is not 0.
        let pointer = unsafe { allocator.alloc_zeroed(layout(200_000)) };
        assert!(contents(pointer, 200_000).iter().all(|byte| *byte == 0));
        free(&allocator, pointer, 200_000);
        allocator.release();
    }

    #[test]
    fn a_block_that_grows_and_shrinks_keeps_its_bytes() {
        let allocator = LargeBlocks::new();
        let mut size = 10;
        let mut pointer = block(&allocator, size, 7);
        for next in [90_000, SMALLEST, 120_000, 131_072, 131_073, LARGEST, LARGEST + 1, 3 << 20, LARGEST, 100_000, 20] {
            let same = size.min(next);
            // SAFETY: the block has the layout of `size`, and `next` is not 0.
            pointer = unsafe { allocator.realloc(pointer, layout(size), next) };
            assert!(contents(pointer, same).iter().all(|byte| *byte == 7), "{size} to {next}");
            // SAFETY: the block is `next` bytes long.
            unsafe { pointer.write_bytes(7, next) };
            size = next;
        }
        free(&allocator, pointer, size);
        allocator.release();
    }

    #[test]
    fn threads_share_a_shelf_without_sharing_a_block() {
        let allocator = LargeBlocks::new();
        std::thread::scope(|scope| {
            for name in 0..4_u8 {
                let allocator = &allocator;
                scope.spawn(move || {
                    for turn in 0..200_usize {
                        let bytes = SMALLEST + turn * 1000;
                        let pointer = block(allocator, bytes, name);
                        std::thread::yield_now();
                        assert!(contents(pointer, bytes).iter().all(|byte| *byte == name));
                        free(allocator, pointer, bytes);
                    }
                });
            }
        });
        allocator.release();
        assert_eq!(kept(&allocator), (0, 0));
    }
}
