//! One line of `tegrastats`. Its fields differ by release, by board and by rights, so each is read by itself, and what is not
//! there, or not known, is left out.

use ledger::Bytes;

/// What one line says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TegraLine {
    /// The time of day as it stands there, `MM-DD-YYYY HH:MM:SS`; old releases have none.
    pub time: Option<String>,
    /// `RAM used/total`: used is all but free pages, buffers and page cache.
    pub ram: Option<(Bytes, Bytes)>,
    /// `lfb NxS`: how many free blocks there are of the largest size, and that size.
    pub largest_free_blocks: Option<(u64, Bytes)>,
    /// `SWAP used/total`; missing where there is no swap.
    pub swap: Option<(Bytes, Bytes)>,
    /// `CPU […]`, one state a core.
    pub cores: Vec<CoreState>,
    /// `EMC_FREQ`: load of the memory controller in percent and its clock in MHz; root only before JetPack 7.
    pub memory_clock: Option<(u32, u32)>,
    /// `GR3D_FREQ`.
    pub gpu: Option<GpuState>,
    /// Sensors in degrees Celsius. One that is switched off (−256 °C) is left out.
    pub temperatures: Vec<Temperature>,
    /// Power rails.
    pub rails: Vec<RailReading>,
}

/// A core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoreState {
    /// Not online.
    Off,
    /// Its load in percent, and its clock in MHz.
    On {
        /// Percent.
        load: u32,
        /// MHz.
        clock: u32,
    },
}

/// The GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GpuState {
    /// Load in percent; Thor does not say.
    pub load: Option<u32>,
    /// Clocks in MHz, one for each group of processors; only where the release prints them.
    pub clocks: Vec<u32>,
}

/// A sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Temperature {
    /// Its name in small letters: releases differ in case.
    pub name: String,
    /// Degrees Celsius now.
    pub now: f64,
}

/// A power rail, in milliwatts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RailReading {
    /// Its name. `NC` is a rail that is not connected, and may come twice.
    pub name: String,
    /// Now.
    pub now: u32,
    /// Mean since `tegrastats` began.
    pub average: Option<u32>,
    /// Highest since `tegrastats` began; from JetPack 7 on.
    pub highest: Option<u32>,
}

impl TegraLine {
    /// Reads `line`. `None` where it has no memory field, which every dialect prints.
    pub fn parse(line: &str) -> Option<TegraLine> {
        let tokens: Vec<&str> = line.split_ascii_whitespace().collect();
        let mut parsed = TegraLine { time: time(&tokens), ..TegraLine::default() };
        for (at, token) in tokens.iter().enumerate() {
            let next = tokens.get(at + 1).copied().unwrap_or_default();
            match *token {
                "RAM" => parsed.ram = sizes(next),
                "SWAP" => parsed.swap = sizes(next),
                "(lfb" => parsed.largest_free_blocks = blocks(next),
                // Xavier has a power rail of this name, too.
                "CPU" if next.starts_with('[') => parsed.cores = cores(next),
                "EMC_FREQ" => parsed.memory_clock = load_and_clock(next),
                "GR3D_FREQ" => parsed.gpu = gpu(next),
                name => {
                    parsed.temperatures.extend(temperature(name));
                    parsed.rails.extend(rail(name, next));
                }
            }
        }
        parsed.ram.is_some().then_some(parsed)
    }

    /// Degrees of the sensor `name`, given in small letters.
    pub fn temperature(&self, name: &str) -> Option<f64> {
        self.temperatures.iter().find(|sensor| sensor.name == name).map(|sensor| sensor.now)
    }
}

fn time(tokens: &[&str]) -> Option<String> {
    let [date, clock, ..] = tokens else { return None };
    let shaped = |text: &str, between: char| {
        let mut parts = text.split(between);
        let digits = parts.all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
        digits && text.matches(between).count() == 2
    };
    (shaped(date, '-') && shaped(clock, ':')).then(|| format!("{date} {clock}"))
}

/// `1224/15656MB`: MB is 2^20 here, as the totals of real boards show.
fn sizes(text: &str) -> Option<(Bytes, Bytes)> {
    let (used, total) = text.strip_suffix("MB")?.split_once('/')?;
    Some((mib(used)?, mib(total)?))
}

fn mib(text: &str) -> Option<Bytes> {
    text.parse::<u64>().ok()?.checked_mul(1 << 20).map(Bytes)
}

/// `8x4MB)`.
fn blocks(text: &str) -> Option<(u64, Bytes)> {
    let (count, size) = text.strip_suffix(')')?.split_once('x')?;
    let size = match (size.strip_suffix("MB"), size.strip_suffix("kB")) {
        (Some(size), _) => mib(size)?,
        (_, Some(size)) => Bytes(size.parse::<u64>().ok()?.checked_mul(1024)?),
        _ => return None,
    };
    Some((count.parse().ok()?, size))
}

/// `[1%@729,off]`. A list with an element that is not understood is not used: its cores could not be told apart.
fn cores(text: &str) -> Vec<CoreState> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let core = |text: &str| match text {
        "off" => Some(CoreState::Off),
        text => load_and_clock(text).map(|(load, clock)| CoreState::On { load, clock }),
    };
    inner.and_then(|inner| inner.split(',').map(core).collect()).unwrap_or_default()
}

/// `3%@2133`.
fn load_and_clock(text: &str) -> Option<(u32, u32)> {
    let (load, clock) = text.split_once("%@")?;
    Some((load.parse().ok()?, clock.parse().ok()?))
}

/// `27%`, `10%@305`, `27%@[1172]`, `0%@[0,0]`, `@[314,314,314]`.
fn gpu(text: &str) -> Option<GpuState> {
    let (load, clocks) = text.split_once('@').unwrap_or((text, ""));
    let load = match load {
        "" => None,
        load => Some(load.strip_suffix('%')?.parse().ok()?),
    };
    let clocks = clocks.trim_start_matches('[').trim_end_matches(']').split(',');
    let clocks = clocks.filter(|clock| !clock.is_empty()).map(|clock| clock.parse().ok());
    Some(GpuState { load, clocks: clocks.collect::<Option<_>>()? })
}

/// `tj@45.843C` or `tj@46.5C/46.843C`, the second being the highest so far.
fn temperature(token: &str) -> Option<Temperature> {
    let (name, degrees) = token.split_once('@')?;
    let (now, _highest) = degrees.split_once('/').unwrap_or((degrees, ""));
    let now: f64 = now.strip_suffix('C')?.parse().ok()?;
    // What a sensor says while its part of the chip is switched off.
    let is_off = now <= -255.0;
    (!is_off && !name.is_empty()).then(|| Temperature { name: name.to_ascii_lowercase(), now })
}

/// `VDD_IN 4304mW/4304mW`, `VDD_IN 3462mW/3492mW/3582mW`, `CPU 463/463` without units in JetPack 4.
fn rail(name: &str, value: &str) -> Option<RailReading> {
    let in_capitals = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let is_rail = name.starts_with(|c: char| c.is_ascii_uppercase()) && name.bytes().all(in_capitals);
    let mut parts = value.split('/').map(|part| part.strip_suffix("mW").unwrap_or(part).parse().ok());
    let now = parts.next().flatten().filter(|_| is_rail && value.contains('/'))?;
    let average = parts.next().flatten()?;
    Some(RailReading { name: name.to_owned(), now, average: Some(average), highest: parts.next().flatten() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIN_NX_JP6: &str = "07-16-2026 13:03:45 RAM 1224/15656MB (lfb 8x4MB) SWAP 0/7828MB (cached 0MB) CPU [1%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729] GR3D_FREQ 0% cv0@41.156C cpu@45.843C soc2@39.593C soc0@42.562C cv1@42.156C gpu@43.406C tj@45.843C soc1@40.25C cv2@38.593C VDD_IN 4304mW/4304mW VDD_CPU_GPU_CV 573mW/573mW VDD_SOC 1218mW/1218mW";
    const AGX_JP5: &str = "01-03-2023 16:07:54 RAM 2257/30536MB (lfb 5392x4MB) SWAP 0/15268MB (cached 0MB) CPU [0%@729,off] EMC_FREQ 0%@204 GR3D_FREQ 10%@0 GR3D2_FREQ 5%@0 NVJPG1 729 VIC_FREQ 115 APE 233 CV0@-256C CPU@41.437C Tboard@29C SOC2@39.062C Tdiode@30.75C SOC0@39.031C CV1@-256C GPU@-256C tj@41.656C SOC1@38.937C CV2@-256C VDD_GPU_SOC 2390mW/2390mW VDD_CPU_CV 796mW/796mW VIN_SYS_5V0 3522mW/3522mW NC 0mW/0mW VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW";
    const NANO_JP7: &str = "09-19-2026 13:33:05 RAM 2837/7486MB (lfb 33x4MB) CPU [1%@729,1%@729,0%@729,0%@729,0%@729,0%@729] EMC_FREQ 3%@665 GR3D_FREQ 0%@[306] NVDEC0 off NVJPG0 off NVJPG1 off VIC off OFA off APE 200 cpu@45.437C/45.812C soc2@44.718C/44.843C soc0@46.312C/46.312C gpu@46.5C/46.843C tj@46.5C/46.843C soc1@46.25C/46.281C VDD_IN 3462mW/3492mW/3582mW VDD_CPU_GPU_CV 442mW/462mW/523mW VDD_SOC 1127mW/1127mW/1127mW";
    const THOR: &str = "04-21-2026 15:50:52 RAM 105265/125772MB (lfb 34x4MB) CPU [0%@972,0%@972] EMC_FREQ 0%@2750 GR3D_FREQ @[314,314,314] NVENC0_FREQ @314 NVENC1_FREQ @314 NVDEC0_FREQ @314 VIC off OFA_FREQ @315 PVA0_FREQ off APE 300 cpu@37.343C tj@38.875C soc012@37.468C gpu@38.875C soc345@37.406C VDD_GPU 1962mW/1962mW VDD_CPU_SOC_MSS 5887mW/5887mW VIN_SYS_5V0 5635mW/5635mW VIN 19780mW/19780mW";

    fn parsed(line: &str) -> TegraLine {
        TegraLine::parse(line).expect("a line of tegrastats")
    }

    #[test]
    fn jetpack_6_without_root() {
        let line = parsed(ORIN_NX_JP6);
        assert_eq!(line.time.as_deref(), Some("07-16-2026 13:03:45"));
        assert_eq!(line.ram, Some((Bytes::mib(1224), Bytes::mib(15656))));
        assert_eq!(line.largest_free_blocks, Some((8, Bytes::mib(4))));
        assert_eq!(line.swap, Some((Bytes::ZERO, Bytes::mib(7828))));
        assert_eq!(line.cores.len(), 8);
        assert_eq!(line.cores[0], CoreState::On { load: 1, clock: 729 });
        assert_eq!(line.memory_clock, None, "only root is told");
        assert_eq!(line.gpu, Some(GpuState { load: Some(0), clocks: vec![] }));
        assert_eq!((line.temperatures.len(), line.temperature("tj")), (9, Some(45.843)));
        let rails: Vec<(&str, u32)> = line.rails.iter().map(|rail| (rail.name.as_str(), rail.now)).collect();
        assert_eq!(rails, [("VDD_IN", 4304), ("VDD_CPU_GPU_CV", 573), ("VDD_SOC", 1218)]);
    }

    #[test]
    fn jetpack_5_with_two_gpu_fields_and_sensors_that_are_off() {
        let line = parsed(AGX_JP5);
        assert_eq!(line.cores, [CoreState::On { load: 0, clock: 729 }, CoreState::Off]);
        assert_eq!(line.memory_clock, Some((0, 204)));
        assert_eq!(line.gpu, Some(GpuState { load: Some(10), clocks: vec![0] }));
        assert_eq!(line.temperature("gpu"), None, "-256 is no temperature");
        assert_eq!(line.temperature("cpu"), Some(41.437));
        assert_eq!(line.rails.iter().filter(|rail| rail.name == "NC").count(), 2);
        assert_eq!(line.rails.len(), 6);
    }

    #[test]
    fn jetpack_7_with_highest_values_and_without_swap() {
        let line = parsed(NANO_JP7);
        assert_eq!(line.swap, None);
        assert_eq!(line.gpu, Some(GpuState { load: Some(0), clocks: vec![306] }));
        assert_eq!(line.temperature("tj"), Some(46.5));
        assert_eq!(
            line.rails[0],
            RailReading { name: "VDD_IN".to_owned(), now: 3462, average: Some(3492), highest: Some(3582) }
        );
    }

    #[test]
    fn thor_has_clocks_and_no_load() {
        let line = parsed(THOR);
        assert_eq!(line.gpu, Some(GpuState { load: None, clocks: vec![314, 314, 314] }));
        assert_eq!(line.temperature("soc345"), Some(37.406));
        let names: Vec<&str> = line.rails.iter().map(|rail| rail.name.as_str()).collect();
        assert_eq!(names, ["VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0", "VIN"]);
    }

    #[test]
    fn a_rail_that_is_called_cpu_takes_no_core_away() {
        let line = parsed(
            "RAM 2462/15698MB (lfb 2585x4MB) CPU [1%@1190,off] EMC_FREQ 0% GR3D_FREQ 0% CPU@35C CPU 463/470 SYS5V 3412/3412",
        );
        assert_eq!(line.cores.len(), 2);
        let cpu = RailReading { name: "CPU".to_owned(), now: 463, average: Some(470), highest: None };
        assert_eq!(line.rails[0], cpu);
        assert_eq!((line.memory_clock, line.rails.len()), (None, 2));
    }

    #[test]
    fn a_line_that_is_cut_anywhere_says_less_and_never_something_else() {
        for line in [ORIN_NX_JP6, AGX_JP5, NANO_JP7, THOR] {
            let whole = parsed(line);
            for end in 0..line.len() {
                let Some(cut) = TegraLine::parse(&line[..end]) else { continue };
                assert_eq!(cut.ram, whole.ram, "{}", &line[..end]);
                assert!(cut.cores.is_empty() || cut.cores == whole.cores, "{}", &line[..end]);
                assert!(cut.temperatures.len() <= whole.temperatures.len());
                assert!(cut.rails.len() <= whole.rails.len());
            }
        }
        assert_eq!(TegraLine::parse("tegrastats: command not found"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", fields in "[A-Z0-9@%/,\\[\\]xmWMBC. -]{0,200}") {
            let _ = TegraLine::parse(&text);
            let _ = TegraLine::parse(&format!("RAM 1/2MB {fields}"));
        }
    }
}
