#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| ft_fuzz::remote_path(input));
