import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { asksNothing, CNI_VERSIONS, type CniVerb, parseNetconf } from '../../src/cni/index.ts'
import { thrown } from '../thrown.ts'

const base = { cniVersion: '1.1.0', name: 'pods', type: 'offload-cni' }

const parse = (fields: object, verb: CniVerb = 'ADD'): ReturnType<typeof parseNetconf> =>
  parseNetconf(JSON.stringify({ ...base, ...fields }), verb)

const refusal = (fields: object, verb: CniVerb = 'ADD'): string => {
  const error = thrown(() => parse(fields, verb))
  return `${error.code} ${error.message}`
}

const declaring = (...names: string[]): Record<string, boolean> => Object.fromEntries(names.map((name) => [name, true]))

describe('parseNetconf', () => {
  it('reads the keys that count and keeps everything', () => {
    const conf = { ...base, capabilities: { mac: true }, args: { cni: {} }, 'cni.dev/x': 1, __unknown: { deep: [null] } }
    expect(parseNetconf(JSON.stringify(conf), 'ADD')).toEqual({ ...base, runtimeConfig: {}, undeclared: [], raw: conf })
  })

  it.each(['', '   ', 'hello', '{', '{"name":"a', "'", '\0\u00ff', '{} {}', '[]', '"abc"', '42', 'true', 'null', 'A'.repeat(1_048_576)])(
    'cannot decode %.20j',
    (stdin) => {
      expect(thrown(() => parseNetconf(stdin, 'DEL')).code).toBe('UNDECODABLE')
    },
  )

  it.each([{ name: 1 }, { cniVersion: 1 }, { type: [] }, { cniVersion: {} }])('cannot decode %j, which is not a text', (fields) => {
    expect(refusal(fields)).toMatch(/^UNDECODABLE netconf: (name|cniVersion|type) = /)
  })

  it.each([undefined, null, '', '-x', '.x', '_x', 'a/b', '../../tmp/x', 'a b', 'net\n', 'a\0'])(
    'refuses the name %j, before it looks at the version',
    (name) => {
      expect(refusal({ name, cniVersion: '9.9.9' })).toMatch(/^INVALID_NETCONF netconf: name /)
    },
  )

  it.each(['9.9.9', 'abc', 'v1.0.0', '1.0', '1.0.0.0', '1.0.0 ', '1.0.0-rc1', '1.2.0'])('does not support version %j', (cniVersion) => {
    expect(refusal({ cniVersion })).toMatch(/^INCOMPATIBLE_VERSION netconf: cniVersion = /)
  })

  it.each([...CNI_VERSIONS])('supports version %s', (cniVersion) => {
    expect(parse({ cniVersion }, 'DEL').cniVersion).toBe(cniVersion)
  })

  it.each([undefined, null, ''])('takes version %j for 0.1.0', (cniVersion) => {
    expect(parse({ cniVersion }).cniVersion).toBe('0.1.0')
  })

  it.each([
    ['CHECK', '0.3.1', '0.4.0'],
    ['GC', '1.0.0', '1.1.0'],
    ['STATUS', '1.0.0', '1.1.0'],
  ] as const)('knows that %s is not in %s but in %s', (verb, before, since) => {
    expect(refusal({ cniVersion: before }, verb)).toBe(
      `INCOMPATIBLE_VERSION netconf: cniVersion = "${before}" has no ${verb}; it needs ${since} or newer`,
    )
    expect(parse({ cniVersion: since }, verb).cniVersion).toBe(since)
    expect(refusal({ cniVersion: undefined }, verb)).toContain('INCOMPATIBLE_VERSION')
  })

  it('takes 1 MB, and odd numbers, but no abyss', () => {
    expect(parse({ x: 'A'.repeat(1_048_576) }).name).toBe('pods')
    expect(parseNetconf(`{"name":"a","x":[123456789012345678901234567890,1e-300,"]]]]\\"[["]}${' '.repeat(1_048_576)}`, 'DEL').name).toBe(
      'a',
    )
    const nested = (depth: number): string => `{"name":"a","x":${'['.repeat(depth)}${']'.repeat(depth)}}`
    expect(parseNetconf(nested(900), 'DEL').name).toBe('a')
    for (const depth of [1000, 20_000, 400_000]) expect(thrown(() => parseNetconf(nested(depth), 'DEL')).code).toBe('UNDECODABLE')
    expect(parseNetconf(`{"name":"a","x":${JSON.stringify('['.repeat(5000))}}`, 'DEL').name).toBe('a')
    expect(parseNetconf(`{"name":"a","x":[${'[],'.repeat(5000)}0]}`, 'DEL').name).toBe('a')
  })

  describe('runtimeConfig', () => {
    it('brings the structures of containerd to the case of the conventions', () => {
      const { runtimeConfig } = parse({
        capabilities: declaring('portMappings', 'bandwidth', 'dns', 'ipRanges', 'io.kubernetes.cri.pod-annotations', 'cgroupPath', 'Other'),
        runtimeConfig: {
          portMappings: [{ HostPort: 8080, ContainerPort: 80, Protocol: 'tcp', HostIP: '', Extra: 1 }],
          bandwidth: { IngressRate: 1, IngressBurst: 4294967295, egressrate: 2, egressBurst: 34359738359 },
          dns: { Servers: ['10.0.0.10'], Searches: null, Options: [] },
          ipRanges: [[{ Subnet: '10.0.0.0/24', RangeStart: '10.0.0.2', RangeEnd: '10.0.0.9', Gateway: '10.0.0.1' }]],
          'io.kubernetes.cri.pod-annotations': null,
          cgroupPath: '/kubelet.slice/x',
          Other: { HostPort: 'is not ours' },
        },
      })
      expect(runtimeConfig).toEqual({
        portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIP: '', Extra: 1 }],
        bandwidth: { ingressRate: 1, ingressBurst: 4294967295, egressRate: 2, egressBurst: 34359738359 },
        dns: { servers: ['10.0.0.10'], searches: null, options: [] },
        ipRanges: [[{ subnet: '10.0.0.0/24', rangeStart: '10.0.0.2', rangeEnd: '10.0.0.9', gateway: '10.0.0.1' }]],
        cgroupPath: '/kubelet.slice/x',
        Other: { HostPort: 'is not ours' },
      })
    })

    it('lowers and validates the MAC, validates addresses', () => {
      const capabilities = declaring('mac', 'ips')
      expect(
        parse({ capabilities, runtimeConfig: { mac: 'C2:11:22:33:44:FF', ips: ['10.1.2.3/24', '2001:db8::5'] } }).runtimeConfig,
      ).toEqual({
        mac: 'c2:11:22:33:44:ff',
        ips: ['10.1.2.3/24', '2001:db8::5'],
      })
      expect(refusal({ capabilities, runtimeConfig: { mac: 'not-a-mac' } })).toMatch(
        /^INVALID_NETCONF netconf: runtimeConfig: mac = "not-a-mac": a MAC address/,
      )
      expect(refusal({ capabilities, runtimeConfig: { ips: ['10.1.2.300'] } })).toMatch(
        /^INVALID_NETCONF netconf: runtimeConfig: ips.0 = "10.1.2.300"/,
      )
      expect(refusal({ runtimeConfig: [] })).toMatch(/^INVALID_NETCONF netconf: runtimeConfig: /)
    })

    it.each([undefined, null, {}, { mac: null, ips: null }, { mac: '' }])('takes %j for none', (runtimeConfig) => {
      expect(parse({ capabilities: declaring('mac', 'ips'), runtimeConfig })).toMatchObject({ runtimeConfig: {}, undeclared: [] })
    })

    it('leaves out what the configuration does not declare, and names it unless it is empty', () => {
      const runtimeConfig = { mac: 'not-a-mac', ips: ['10.0.0.2'], bandwidth: { ingressRate: 1 }, aliases: [], deviceID: '0000:04:00.5' }
      expect(parse({ capabilities: { ips: true, bandwidth: false, mac: 'true' }, runtimeConfig })).toMatchObject({
        runtimeConfig: { ips: ['10.0.0.2'], deviceID: '0000:04:00.5' },
        undeclared: ['mac', 'bandwidth'],
      })
      for (const capabilities of [undefined, null, 'all', [], { toString: true }])
        expect(parse({ capabilities, runtimeConfig: { toString: 'x', mac: 'x' } }).undeclared, JSON.stringify(capabilities)).toContain(
          'mac',
        )
    })

    it.each([
      ['portMappings.0.hostPort = 70000', { portMappings: [{ HostPort: 70_000, ContainerPort: 80, Protocol: 'tcp' }] }],
      ['portMappings.0.hostPort = 0', { portMappings: [{ hostPort: 0, containerPort: 80 }] }],
      ['portMappings.1.containerPort is missing', { portMappings: [{ hostPort: 1, containerPort: 2 }, { hostPort: 80 }] }],
      ['portMappings.0.protocol = "icmp": tcp, udp or sctp', { portMappings: [{ hostPort: 1, containerPort: 2, Protocol: 'icmp' }] }],
      ['portMappings.0.hostIP = "here"', { portMappings: [{ hostPort: 1, containerPort: 2, hostIP: 'here' }] }],
      ['portMappings = {"hostPort":1}', { portMappings: { hostPort: 1 } }],
      ['bandwidth.ingressRate = -1', { bandwidth: { ingressRate: -1, ingressBurst: 1 } }],
      ['bandwidth.ingressBurst is missing: rate and burst go together', { bandwidth: { IngressRate: 1000 } }],
      ['bandwidth.egressRate = 0: rate and burst go together', { bandwidth: { egressRate: 0, EgressBurst: 5 } }],
      ['bandwidth.egressRate = 1.5: a whole number', { bandwidth: { egressRate: 1.5, egressBurst: 5 } }],
      ['ipRanges.0 = {"subnet":"10.0.0.0"}', { ipRanges: [{ Subnet: '10.0.0.0' }] }],
      ['dns.servers = "10.0.0.10"', { dns: { Servers: '10.0.0.10' } }],
      ['infinibandGUID = "c2:11"', { infinibandGUID: 'c2:11' }],
      ['aliases = "a"', { aliases: 'a' }],
      ['cgroupPath = 5', { cgroupPath: 5 }],
    ])('a malformed value of a known capability is refused: %s', (says, runtimeConfig) => {
      expect(refusal({ capabilities: declaring(...Object.keys(runtimeConfig)), runtimeConfig })).toContain(
        `INVALID_NETCONF netconf: runtimeConfig: ${says}`,
      )
    })

    it('a bandwidth of zeros asks for nothing', () => {
      const runtimeConfig = { bandwidth: { ingressRate: 0, ingressBurst: 0, egressRate: null } }
      expect(asksNothing(parse({ capabilities: declaring('bandwidth'), runtimeConfig }).runtimeConfig)).toBe(true)
    })

    it('takes values as CRI-O and containerd fill them in', () => {
      const runtimeConfig = {
        bandwidth: { ingressRate: 2_048_000, ingressBurst: 34_359_738_359, egressRate: 0, egressBurst: 0 },
        portMappings: [{ HostPort: 8080, ContainerPort: 80, Protocol: 'UDP', HostIP: '::1' }],
        ipRanges: [{ Subnet: '10.0.0.0/24', RangeStart: '', RangeEnd: null, Gateway: '' }],
        dns: { Servers: ['10.0.0.10'], Searches: null, Options: null },
      }
      expect(parse({ capabilities: declaring(...Object.keys(runtimeConfig)), runtimeConfig }).runtimeConfig).toMatchObject({
        portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'udp', hostIP: '::1' }],
        bandwidth: { ingressRate: 2_048_000, ingressBurst: 34_359_738_359 },
      })
    })
  })

  describe('deviceId', () => {
    it.each([
      [{ deviceID: '0000:04:00.5', pciBusID: 'x' }, '0000:04:00.5'],
      [{ runtimeConfig: { deviceID: '0000:04:00.6' } }, '0000:04:00.6'],
      [{ deviceID: '0000:04:00.5', runtimeConfig: { deviceID: '0000:04:00.6' } }, '0000:04:00.6'],
      [{ pciBusID: '0000:04:00.7' }, '0000:04:00.7'],
      [{ deviceID: '', pciBusID: '0000:04:00.7' }, '0000:04:00.7'],
      [{ deviceID: '' }, undefined],
      [{ deviceID: null }, undefined],
      [{}, undefined],
    ])('of %j', (fields, expected) => {
      expect(parse(fields).deviceId).toBe(expected)
    })

    it('has to be a text', () => {
      expect(refusal({ deviceID: 5 })).toMatch(/^INVALID_NETCONF netconf: deviceID: /)
    })
  })

  describe('prevResult', () => {
    it('is decoded in the version of the configuration where it names none', () => {
      expect(parse({ prevResult: { ips: [{ address: '10.0.0.2/24' }] } }, 'CHECK').prevResult?.ips).toEqual([{ address: '10.0.0.2/24' }])
      expect(parse({ cniVersion: '0.2.0', prevResult: { ip4: { ip: '10.0.0.2/24' } } }).prevResult?.ips).toEqual([
        { address: '10.0.0.2/24' },
      ])
    })

    it.each([undefined, null, {}])('%j is none', (prevResult) => {
      expect(parse({ prevResult }, 'DEL')).not.toHaveProperty('prevResult')
      expect(parse({ prevResult }, 'CHECK')).not.toHaveProperty('prevResult')
    })

    it.each(['x', [], { ips: [{ address: '10.0.0.2' }] }, { ips: [{ address: '10.0.0.2/24', interface: 0 }] }])(
      '%j is refused',
      (prevResult) => {
        expect(refusal({ prevResult })).toMatch(/^INVALID_NETCONF netconf: prevResult: /)
      },
    )
  })

  it('lets broken optional fields keep nobody from deleting', () => {
    const fields = { prevResult: { ips: 'x' }, capabilities: { mac: true }, runtimeConfig: { mac: 'x' }, deviceID: 5 }
    const conf = parse(fields, 'DEL')
    expect(conf).toEqual({ ...base, runtimeConfig: {}, undeclared: [], raw: { ...base, ...fields } })
    expect(refusal(fields, 'CHECK')).toContain('INVALID_NETCONF')
  })

  describe('the list of a GC', () => {
    it.each(['cni.dev/valid-attachments', 'cni.dev/attachments'])('is read from %s', (key) => {
      expect(parse({ [key]: [{ containerID: 'a', ifname: 'eth0', more: 1 }] }, 'GC').validAttachments).toEqual([
        { containerId: 'a', ifName: 'eth0' },
      ])
      expect(parse({ [key]: [] }, 'GC').validAttachments).toEqual([])
    })

    it('is absent, and not empty, when the caller gave none', () => {
      expect(parse({}, 'GC')).not.toHaveProperty('validAttachments')
      expect(parse({ 'cni.dev/valid-attachments': null }, 'GC')).not.toHaveProperty('validAttachments')
    })

    it.each([
      'all',
      { containerID: 'x' },
      ['x'],
      [{ containerID: 'x' }],
      [{ containerID: 'x', ifname: 5 }],
      [null],
      [{ containerID: '', ifname: 'e' }],
    ])('%j is refused, never taken for an empty one', (list) => {
      expect(refusal({ 'cni.dev/valid-attachments': list }, 'GC')).toMatch(/^INVALID_NETCONF netconf: cni.dev\/valid-attachments: /)
    })

    it('does not concern other verbs', () => {
      expect(parse({ 'cni.dev/valid-attachments': 'all' }, 'ADD')).not.toHaveProperty('validAttachments')
    })
  })

  it('either parses or throws one of three codes, whatever it is given', () => {
    const key = fc.constantFrom(
      'name',
      'cniVersion',
      'type',
      'prevResult',
      'runtimeConfig',
      'capabilities',
      'deviceID',
      'cni.dev/valid-attachments',
      '__proto__',
    )
    const fields = fc.dictionary(key, fc.oneof(fc.jsonValue(), fc.constantFrom('pods', '1.1.0')))
    fc.assert(
      fc.property(fields, fc.constantFrom<CniVerb>('ADD', 'DEL', 'CHECK', 'GC', 'STATUS'), (given, verb) => {
        try {
          parseNetconf(JSON.stringify({ ...base, ...given }), verb)
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^(UNDECODABLE|INVALID_NETCONF|INCOMPATIBLE_VERSION)$/) })
        }
      }),
      { numRuns: 500 },
    )
  })
})
