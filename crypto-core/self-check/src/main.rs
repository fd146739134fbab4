//! Runs the check where it is started: on a computer, on a bare Cortex-M board, or in a WebAssembly machine.
#![cfg_attr(any(target_os = "none", target_family = "wasm"), no_std, no_main)]

/// A program like any other.
#[cfg(not(any(target_os = "none", target_family = "wasm")))]
fn main() -> Result<(), kith_self_check::Failure> {
    kith_self_check::run()
}

/// A board: the debugger (here: the emulator) takes what it prints and how it ends.
#[cfg(target_os = "none")]
mod board {
    use core::fmt;
    use core::panic::PanicInfo;

    use cortex_m_rt::entry;
    use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
    use cortex_m_semihosting::hio;

    #[entry]
    fn main() -> ! {
        let result = kith_self_check::run();
        say(format_args!("{result:?}, stack used: {} bytes\n", stack::used_bytes()));
        end(result.is_ok())
    }

    #[panic_handler]
    fn panic(info: &PanicInfo<'_>) -> ! {
        say(format_args!("{info}\n"));
        end(false)
    }

    /// Whoever does not listen misses it; the way in which the program ends says the same.
    fn say(what: fmt::Arguments<'_>) {
        let _ = hio::hstdout().and_then(|mut out| fmt::Write::write_fmt(&mut out, what).map_err(drop));
    }

    fn end(is_ok: bool) -> ! {
        loop {
            debug::exit(if is_ok { EXIT_SUCCESS } else { EXIT_FAILURE });
        }
    }

    /// How deep the stack has been. `cortex-m-rt` has painted all of it before `main`.
    mod stack {
        use core::ptr;

        /// What `cortex-m-rt`'s feature `paint-stack` writes.
        const PAINT: u32 = 0xcccc_cccc;

        // Its linker script says where the stack ends and begins; it grows from the start down to the end.
        #[allow(unsafe_code, reason = "the linker's names of addresses")]
        unsafe extern "C" {
            static _stack_start: u32;
            static _stack_end: u32;
        }

        /// From its start down to the deepest word that is no longer painted.
        pub(super) fn used_bytes() -> usize {
            let (start, end) = (&raw const _stack_start, &raw const _stack_end);
            let mut word = end;
            // SAFETY: reads aligned words of the stack's memory, which exists up to `start` and is never unmapped;
            // volatile, because other frames have written them.
            #[allow(unsafe_code, reason = "the stack is read as memory")]
            while word < start && unsafe { ptr::read_volatile(word) } == PAINT {
                word = word.wrapping_add(1);
            }
            start.addr() - word.addr()
        }
    }
}

/// A WebAssembly machine: it calls the one function that is exported.
#[cfg(target_family = "wasm")]
mod module {
    use core::panic::PanicInfo;

    /// Gives 0, or the number of the part that failed.
    #[allow(unsafe_code, reason = "an exported name")]
    #[unsafe(no_mangle)]
    extern "C" fn self_check() -> u32 {
        kith_self_check::run().map_or_else(|failure| failure as u32, |()| 0)
    }

    #[panic_handler]
    fn panic(_: &PanicInfo<'_>) -> ! {
        core::arch::wasm32::unreachable()
    }
}
