#![no_main]

use folio_fuzz::file;

libfuzzer_sys::fuzz_target!(|input: &[u8]| file::run(input));

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    // Mostly something that means something; now and then anything. Both with checksums that agree.
    let choices: Vec<u8> = (0..16).map(|n| (seed.wrapping_mul(0x9e37_79b9).rotate_left(n * 5) >> 24) as u8).collect();
    let size = match seed % 8 {
        0 => libfuzzer_sys::fuzzer_mutate(data, size, max_size),
        _ => {
            file::forge(&mut data[..size], &choices);
            size
        }
    };
    file::mend(&mut data[..size]);
    size
});
