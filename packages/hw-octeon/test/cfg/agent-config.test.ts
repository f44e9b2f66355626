import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type AgentConfig,
  checkAgentConfig,
  formatAgentConfig,
  generateAgentConfig,
  parseAgentConfig,
  problemText,
  shortestWindowMs,
} from '../../src/index.ts'

/** A configuration in the form of those that come with the agent: five bytes for the physical function. */
const shipped = (mac: string): string => `soc = {
\t/* 1 pem */
\tpems = (
\t\t{
\t\t\tidx = 0;
\t\t\tpfs = (
\t\t\t\t{
\t\t\t\t\tidx = 0;
\t\t\t\t\tmac_addr = ${mac};
\t\t\t\t\tlink_state = 0; rx_state = 0;
\t\t\t\t\tautoneg = 0x3; pause_mode = 0x3;
\t\t\t\t\tspeed = 10000;
\t\t\t\t\tsupported_modes = 0x1; advertised_modes = 0x1;
\t\t\t\t\thb_interval = 1000; hb_miss_count = 20;
\t\t\t\t\tvfs = (
\t\t\t\t\t\t{ idx = 0; mac_addr = [0x00,0x00,0x00,0x01,0x01,0x01]; },
\t\t\t\t\t\t{ idx = 1; mac_addr = [0x00,0x00,0x00,0x02,0x01,0x01]; },
\t\t\t\t\t);
\t\t\t\t}
\t\t\t);
\t\t}
\t);
};
`

const found = (text: string): string[] => checkAgentConfig(text).problems.map((problem) => problemText('f', problem))
const errors = (text: string): string[] => found(text).filter((line) => line.includes(': error: '))
const pem = (pfs: string): string => `soc = { pems = ( { idx = 0; pfs = ( ${pfs} ); } ); };`
const OWN = 'mac_addr = [0x02, 0, 0, 0, 0, 1];'

describe('checkAgentConfig', () => {
  it('refuses the configuration that comes with the agent, whose physical function has an address of five bytes', () => {
    const { config, problems } = checkAgentConfig(shipped('[0x00,0x00,0x00,0x01,0x01]'))
    expect(config).toBeUndefined()
    expect(problems.filter(({ severity }) => severity === 'error')).toEqual([
      {
        severity: 'error',
        at: { line: 9, column: 6 },
        path: 'soc.pems[0].pfs[0].mac_addr',
        message: 'has 5 bytes, 6 are expected: the agent adds zeros at the end and would take 00:00:00:01:01:00',
      },
    ])
  })

  it('takes it with six bytes, and warns that every card has these addresses', () => {
    const { config, problems } = checkAgentConfig(shipped('[0x00,0x00,0x00,0x01,0x01,0x00]'))
    expect(config?.pems[0]?.pfs[0]?.vfs.map(({ mac }) => mac)).toEqual(['00:00:00:01:01:01', '00:00:00:02:01:01'])
    expect(problems.map(({ severity, at }) => [severity, at.line])).toEqual([
      ['warning', 9],
      ['warning', 16],
      ['warning', 17],
    ])
  })

  it.each([
    ['pems = ( );', ['f:1:1: error: soc: is missing; the agent ends without it: soc = { pems = ( … ); };']],
    ['soc = 1;', ['f:1:1: error: soc: is no group: soc = { pems = ( … ); };']],
    ['soc = { };', ['f:1:7: error: soc.pems: has no PCI link: the agent would run and do nothing']],
    [
      'soc = {\n pems = { }; };',
      [
        'f:2:2: error: soc.pems: is a group; a list is expected: pems = ( { … }, { … } );',
        'f:2:2: error: soc.pems: has no PCI link: the agent would run and do nothing',
      ],
    ],
    [pem(''), ['f:1:29: error: soc.pems[0].pfs: has no function: the host would find none']],
    [
      pem('3'),
      [
        'f:1:29: error: soc.pems[0].pfs: has no function: the host would find none',
        'f:1:37: error: soc.pems[0].pfs[0]: is a number; a group is expected: { idx = 0; … }',
      ],
    ],
    ['soc = {', ['f:1:8: error: a setting or "}" is expected, not the end of the file']],
  ])('tells what is wrong with %j', (text, expected) => {
    expect(errors(text)).toEqual(expected)
  })

  it.each([
    [`${OWN}`, 'idx: is missing; set it to a whole number, 0 to 127'],
    [`idx = 128; ${OWN}`, 'idx: is 128; 0 to 127 is expected'],
    [`idx = 1; ${OWN}`, 'idx: is 1 in a list of 1: 0 to 0, each once, is expected'],
    ['idx = 0;', 'mac_addr: is missing; without it the agent gives the host the address 00:00:00:00:00:00'],
    [
      'idx = 0; mac_addr = "02:00:00:00:00:01";',
      'mac_addr: is no array of bytes; six are expected: mac_addr = [0x02, 0x00, 0x00, 0x00, 0x00, 0x01];',
    ],
    ['idx = 0; mac_addr = [2,0,0,0,0,0,1];', 'mac_addr: has 7 bytes, 6 are expected: the agent reads over the rest'],
    ['idx = 0; mac_addr = [2,0,0,0,0,256];', 'mac_addr: has the byte 256; 0 to 255 is expected, and the agent cuts off what is beyond'],
    ['idx = 0; mac_addr = [0,0,0,0,0,0];', 'mac_addr: is 00:00:00:00:00:00, which is no address of anybody'],
    ['idx = 0; mac_addr = [3,0,0,0,0,1];', 'mac_addr: is 03:00:00:00:00:01, an address of a group: the first byte has to be even'],
    [`idx = 0; ${OWN} hb_interval = 999;`, 'hb_interval: is 999; 1000 to 15000 is expected'],
    [`idx = 0; ${OWN} hb_interval = 15001;`, 'hb_interval: is 15001; 1000 to 15000 is expected'],
    [`idx = 0; ${OWN} hb_miss_count = 0;`, 'hb_miss_count: is 0; 1 to 65535 is expected'],
    [`idx = 0; ${OWN} hb_miss_count = 65536;`, 'hb_miss_count: is 65536; 1 to 65535 is expected'],
    [`idx = 0; ${OWN} link_state = 2;`, 'link_state: is 2; 0 to 1 is expected'],
    [`idx = 0; ${OWN} rx_state = true;`, 'rx_state: is a boolean, which the agent does not read; 0 to 1 is expected'],
    [`idx = 0; ${OWN} speed = -1;`, 'speed: is -1; 0 to 2147483647 is expected'],
    [`idx = 0; ${OWN} speed = 1.5;`, 'speed: is a number with a point, which the agent does not read; 0 to 2147483647 is expected'],
    [`idx = 0; ${OWN} autoneg = 4;`, 'autoneg: is 4; 0 to 3 is expected'],
    [`idx = 0; ${OWN} supported_modes = 0x1000000;`, 'supported_modes: is 16777216; 0 to 16777215 is expected'],
    [`idx = 0; ${OWN} pkind = 256;`, 'pkind: is 256; 0 to 255 is expected'],
    [
      `idx = 0; ${OWN} vfs = ( { idx = 0; mac_addr = [2,0,0,0,0,1]; } );`,
      'vfs[0].mac_addr: is 02:00:00:00:00:01, as that of soc.pems[0].pfs[0]: each function needs its own',
    ],
    [
      `idx = 0; ${OWN} vfs = ( { idx = 1; mac_addr = [2,0,0,0,0,2]; } );`,
      'vfs[0].idx: is 1 in a list of 1: 0 to 0, each once, is expected',
    ],
    [`idx = 0; ${OWN} vfs = ( { idx = 64; mac_addr = [2,0,0,0,0,2]; } );`, 'vfs[0].idx: is 64; 0 to 63 is expected'],
    [
      `idx = 0; ${OWN} vfs = ( { idx = 0; mac_addr = [2,0,0,0,0,2]; }, { idx = 0; mac_addr = [2,0,0,0,0,3]; } );`,
      'vfs[1].idx: is 0, as that of soc.pems[0].pfs[0].vfs[0]',
    ],
  ])('refuses a function of { %s }', (pf, expected) => {
    expect(errors(pem(`{ ${pf} }`)).map((line) => line.replace(/^f:1:\d+: error: soc\.pems\[0\]\.pfs\[0\]\./, ''))).toEqual([expected])
  })

  it('refuses more functions than the agent holds', () => {
    const vfs = Array.from({ length: 65 }, (_, index) => `{ idx = ${index}; mac_addr = [2,0,0,0,1,${index}]; }`).join(',')
    expect(errors(pem(`{ idx = 0; ${OWN} vfs = ( ${vfs} ); }`))).toEqual([
      expect.stringContaining('vfs: has 65 entries; the agent takes 64 at most and reads over the rest'),
      expect.stringContaining('vfs[64].idx: is 64; 0 to 63 is expected'),
    ])
  })

  it('warns of settings that have no effect', () => {
    const text = pem(`{ idx = 0; ${OWN} mtu = 1500; vfs = ( { idx = 0; mac_addr = [2,0,0,0,0,2]; hb_interval = 5; } ); }`)
    expect(found(text).map((line) => line.replace(/^f:1:\d+: /, ''))).toEqual([
      'warning: soc.pems[0].pfs[0].mtu: is no setting that the agent knows: it reads over it',
      'warning: soc.pems[0].pfs[0].vfs[0].hb_interval: is that of the physical function: this one has no effect',
    ])
    expect(checkAgentConfig(text).config).toBeDefined()
  })

  it('takes functions in any order, by the index that they say', () => {
    const text = pem(`{ idx = 0; ${OWN} vfs = ( { idx = 1; mac_addr = [2,0,0,0,0,3]; }, { idx = 0; mac_addr = [2,0,0,0,0,2]; } ); }`)
    expect(checkAgentConfig(text).config?.pems[0]?.pfs[0]?.vfs.map(({ mac }) => mac)).toEqual(['02:00:00:00:00:02', '02:00:00:00:00:03'])
  })
})

describe('parseAgentConfig', () => {
  it('tells all errors in one, with their places', () => {
    expect(() => parseAgentConfig('soc = {', '/run/c.cfg')).toThrow(
      expect.objectContaining({
        code: 'INVALID_CONFIG',
        message: '/run/c.cfg:1:8: error: a setting or "}" is expected, not the end of the file',
        hint: 'correct them, or make a configuration: offload octeon cfg --node NAME',
      }),
    )
  })
})

const mac = fc
  .tuple(fc.integer({ min: 0, max: 127 }), fc.uint8Array({ minLength: 5, maxLength: 5 }))
  .map(([first, rest]) => [first * 2, ...rest].map((byte) => byte.toString(16).padStart(2, '0')).join(':'))
  .filter((text) => text !== '00:00:00:00:00:00')
const face = fc.record({
  linkUp: fc.boolean(),
  rxUp: fc.boolean(),
  autoneg: fc.integer({ min: 0, max: 3 }),
  pauseMode: fc.integer({ min: 0, max: 3 }),
  speedMbps: fc.integer({ min: 0, max: 2_147_483_647 }),
  supportedModes: fc.integer({ min: 0, max: 0xff_ffff }),
  advertisedModes: fc.integer({ min: 0, max: 0xff_ffff }),
  pkind: fc.integer({ min: 0, max: 255 }),
})
const heartbeat = fc.record({ intervalMs: fc.integer({ min: 1000, max: 15_000 }), missCount: fc.integer({ min: 1, max: 65_535 }) })
const pfShape = fc.record({ face, heartbeat, vfs: fc.array(face, { maxLength: 64 }) })
const configs: fc.Arbitrary<AgentConfig> = fc
  .array(fc.array(pfShape, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 8 })
  .chain((shape) => {
    const count = shape.flat().reduce((sum, { vfs }) => sum + 1 + vfs.length, 0)
    return fc.uniqueArray(mac, { minLength: count, maxLength: count }).map((macs) => {
      const rest = macs.values()
      const withMac = <T extends object>(of: T): T & { mac: string } => ({ ...of, mac: rest.next().value ?? '' })
      return {
        pems: shape.map((pfs) => ({ pfs: pfs.map((pf) => ({ ...withMac(pf.face), heartbeat: pf.heartbeat, vfs: pf.vfs.map(withMac) })) })),
      }
    })
  })

describe('formatAgentConfig', () => {
  it('writes what is read back as it was', () => {
    fc.assert(
      fc.property(configs, (config) => {
        expect(parseAgentConfig(formatAgentConfig(config, ['made']), 'f')).toEqual(config)
      }),
      { numRuns: 30 },
    )
  })
})

describe('generateAgentConfig', () => {
  it('makes a file without an error or a warning', () => {
    const config = generateAgentConfig({ node: 'worker-1' })
    expect(checkAgentConfig(formatAgentConfig(config))).toEqual({ config, problems: [] })
    expect(config.pems[0]?.pfs[0]?.vfs).toHaveLength(64)
    expect(shortestWindowMs(config)).toBe(20_000)
  })

  it('gives each function of each card of each node an address of its own, locally administered', () => {
    const macs = ['worker-1', 'worker-2'].flatMap((node) =>
      ['octeon0', 'octeon1'].flatMap((device) =>
        generateAgentConfig({ node, device }).pems.flatMap(({ pfs }) => pfs.flatMap((pf) => [pf.mac, ...pf.vfs.map((vf) => vf.mac)])),
      ),
    )
    expect(new Set(macs).size).toBe(4 * 65)
    for (const text of macs) expect(Number.parseInt(text.slice(0, 2), 16) & 0b11).toBe(0b10)
  })

  it('gives the same addresses in every release, since hosts know them', () => {
    const [pf] = generateAgentConfig({ node: 'worker-1', vfs: 1 }).pems[0]?.pfs ?? []
    expect([pf?.mac, pf?.vfs[0]?.mac]).toEqual(['52:ea:f5:34:f8:ad', '3a:6e:0d:4c:66:44'])
  })

  it.each([
    [{ node: '' }, 'node = ""'],
    [{ node: 'n', vfs: 65 }, 'vfs = 65: 1 to 64 is expected'],
    [{ node: 'n', vfs: 0 }, 'vfs = 0: 1 to 64 is expected'],
    [{ node: 'n', device: 'Octeon' }, 'device = "Octeon"'],
    [{ node: 'n', heartbeat: { intervalMs: 999 } }, 'heartbeat.intervalMs = 999: 1000 to 15000 is expected'],
    [{ node: 'n', heartbeat: { missCount: 0 } }, 'heartbeat.missCount = 0: 1 to 65535 is expected'],
    [{ node: 'n', chip: 'CN9999' as never }, 'chip = "CN9999"'],
  ])('refuses %j', (choice, message) => {
    expect(() => generateAgentConfig(choice)).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringContaining(message) as string }),
    )
  })
})
