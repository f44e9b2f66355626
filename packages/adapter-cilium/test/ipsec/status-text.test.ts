import { OffloadError } from '@cni-offload/sdk'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encryptionStatus, nodeStatus, type NodeStatus, parseEncryptStatus, parseSequence } from '../../src/ipsec/index.ts'

/** As fmt.Printf of Go pads with `%-26s`. */
const padded = (value: string | number): string => String(value).padEnd(26)

/** What `cilium-dbg encrypt status` prints; 1.19 and newer put a message first, and show IPsec of the kernel whatever the mode is. */
const dbg = (status: NodeStatus): string =>
  [
    ...(status.message === undefined ? [] : [`Msg: ${status.message}`]),
    `Encryption: ${padded(status.mode ?? '')}`,
    ...(status.keysInUse === undefined
      ? []
      : [
          `Decryption interface(s): ${status.interfaces?.join(', ')}`,
          `Keys in use: ${padded(status.keysInUse)}`,
          `Max Seq. Number: ${status.sequence === 0n ? 'N/A' : `0x${status.sequence?.toString(16)}/0xffffffffffffffff`}`,
          `Errors: ${padded(status.errors ?? 0)}`,
          ...Object.entries(status.xfrmErrors ?? {}).map(([name, count]) => `\t${name}: ${padded(count)}`),
        ]),
    '',
  ].join('\n')

const name = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/)
const kernel = {
  interfaces: fc.array(name),
  keysInUse: fc.nat(),
  sequence: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  errors: fc.nat(),
  xfrmErrors: fc.dictionary(fc.constantFrom('XfrmInNoStates', 'XfrmOutPolBlock'), fc.nat(), { noNullPrototype: true }),
}
const statuses: fc.Arbitrary<NodeStatus> = fc.oneof(
  fc.record({ mode: fc.constantFrom('Disabled', 'Wireguard', 'Ztunnel') }),
  fc.record({ mode: fc.constantFrom('IPsec', 'Disabled'), ...kernel }),
  fc.record({ message: fc.constant('cannot get xfrm state'), ...kernel }),
)

describe('what cilium-dbg encrypt status prints', () => {
  it('is read, of all releases', () => {
    fc.assert(
      fc.property(statuses, (status) => {
        expect(parseEncryptStatus(dbg(status))).toEqual({
          scope: 'nodes',
          nodes: [status.errors === undefined || Object.keys(status.xfrmErrors ?? {}).length > 0 ? status : withoutErrors(status)],
        })
      }),
    )
  })

  it('of 1.16 and 1.17 has sequence numbers of 32 bits', () => {
    const text =
      'Encryption: IPsec                     \nDecryption interface(s): eth0, eth1\nKeys in use: 4                         \n' +
      'Max Seq. Number: 0x1e3/0xffffffff\nErrors: 2                         \n\tXfrmInNoStates: 2                         \n'
    expect(parseEncryptStatus(text)).toEqual({
      scope: 'nodes',
      nodes: [
        {
          mode: 'IPsec',
          interfaces: ['eth0', 'eth1'],
          keysInUse: 4,
          sequence: 0x1e3n,
          errors: 2,
          xfrmErrors: { XfrmInNoStates: 2 },
        },
      ],
    })
  })

  it('of Wireguard says nothing of IPsec, and unknown lines say nothing at all', () => {
    const text = 'Encryption: Wireguard\nInterface: cilium_wg0\n\tPublic key: abc=\n\tNumber of peers: 2\nNews: 7\nno colon\n'
    expect(parseEncryptStatus(text)).toEqual({ scope: 'nodes', nodes: [{ mode: 'Wireguard' }] })
  })

  it.each([
    ['Keys in use: four', 'Keys in use = "four"'],
    ['Keys in use: -1', 'Keys in use = "-1"'],
    ['Max Seq. Number: many', 'Max Seq. Number = "many"'],
    ['Errors:', 'Errors = ""'],
    ['\tXfrmInError: x', 'XfrmInError = "x"'],
    ['IPsec key rotation in progress: maybe', 'true or false'],
    ['Encryption: IPsec', 'one such line of each node'],
  ])('with %j is refused by line and value', (line, message) => {
    expect(() => parseEncryptStatus(`Encryption: IPsec\n${line}\n`)).toThrow(
      expect.objectContaining({ code: 'UNDECODABLE', message: expect.stringContaining(message) }),
    )
  })

  it('as JSON is the same, where Go leaves out what is 0', () => {
    const text = '{"ipsec":{"decrypt-interfaces":["eth0"],"max-seq-number":"0x10/0xffffffffffffffff","keys-in-use":2},"mode":"IPsec"}'
    expect(parseEncryptStatus(text)).toEqual({
      scope: 'nodes',
      nodes: [{ mode: 'IPsec', interfaces: ['eth0'], keysInUse: 2, sequence: 16n, errors: 0, xfrmErrors: {} }],
    })
    expect(nodeStatus(encryptionStatus.parse({ mode: 'IPsec', ipsec: { 'decrypt-interfaces': null } }))).toMatchObject({ keysInUse: 0 })
    expect(nodeStatus({ mode: 'IPsec' }), 'what an agent says').toEqual({ mode: 'IPsec' })
    for (const [wrong, message] of [
      ['{', 'is none'],
      ['{"total-node-count":2}', 'neither mode nor ipsec'],
      ['{"mode":"IPsec","ipsec":{"keys-in-use":"2"}}', 'keys-in-use'],
    ] as const)
      expect(() => parseEncryptStatus(wrong)).toThrow(
        expect.objectContaining({ code: 'UNDECODABLE', message: expect.stringContaining(message) }),
      )
  })

  it('never breaks the reader in another way than by UNDECODABLE', () => {
    const words = fc.constantFrom(
      'Encryption: ',
      'IPsec',
      'Keys in use: ',
      '7',
      '\n',
      '\t',
      'XfrmInError: ',
      ' (1/2 nodes)',
      'Node: ',
      '{',
      '0x1',
    )
    fc.assert(
      fc.property(fc.array(words), (some) => {
        try {
          parseEncryptStatus(some.join(''))
        } catch (error) {
          expect(OffloadError.is(error) && error.code).toBe('UNDECODABLE')
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('what cilium encrypt status of cilium-cli prints', () => {
  it('is read, with all that releases have added', () => {
    const text = [
      'Encryption: Disabled (1/3 nodes)',
      'Encryption: IPsec (2/3 nodes)',
      'IPsec keys in use: 4 on 1/3, 6 on 1/3',
      'IPsec highest Seq. Number: 0x1e3/0xffffffff across all nodes',
      'IPsec expected key count: 4',
      'IPsec key rotation in progress: true',
      'IPsec per-node key: true',
      'IPsec errors: 9 across all nodes',
      '\tXfrmInNoStates: 9 on 2/3 nodes',
      '',
    ].join('\n')
    expect(parseEncryptStatus(text)).toEqual({
      scope: 'cluster',
      cluster: {
        nodes: 3,
        modes: { Disabled: 1, IPsec: 2 },
        keysInUse: [
          { keys: 4, nodes: 1 },
          { keys: 6, nodes: 1 },
        ],
        sequence: 0x1e3n,
        expectedKeys: 4,
        rotating: true,
        errors: 9,
        xfrmErrors: { XfrmInNoStates: 9 },
      },
    })
    expect(parseEncryptStatus('Encryption: IPsec (1/1 nodes)\nIPsec highest Seq. Number:  across all nodes\n')).toMatchObject({
      cluster: { sequence: 0n },
    })
  })

  it('of each node is read node by node', () => {
    const text =
      'Node: a\nEncryption: IPsec\nIPsec keys in use: 4\nIPsec highest Seq. Number: N/A\nIPsec expected key count: 4\n' +
      'IPsec key rotation in progress: false\nIPsec errors: 0\n\nNode: b\nEncryption: Disabled\n\n'
    expect(parseEncryptStatus(text)).toEqual({
      scope: 'nodes',
      nodes: [
        { node: 'a', mode: 'IPsec', keysInUse: 4, sequence: 0n, expectedKeys: 4, rotating: false, errors: 0 },
        { node: 'b', mode: 'Disabled' },
      ],
    })
  })

  it.each([
    ['Encryption: IPsec (3/2 nodes)', 'some/all'],
    ['Encryption: IPsec (1/2 nodes)\nEncryption: Disabled (1/3 nodes)', '2 nodes, as in the line before'],
    ['Encryption: IPsec (1/2 nodes)\nIPsec keys in use: 4', 'KEYS on some/all'],
    ['Encryption: IPsec (1/2 nodes)\nIPsec errors: 4', 'across all nodes'],
    ['IPsec keys in use: 4', 'no line "Encryption'],
  ])('%j is refused', (text, message) => {
    expect(() => parseEncryptStatus(text)).toThrow(
      expect.objectContaining({ code: 'UNDECODABLE', message: expect.stringContaining(message) }),
    )
  })

  it('has sequence numbers of up to 64 bits', () => {
    expect(parseSequence('0xffffffffffffffff/0xffffffffffffffff')).toBe(2n ** 64n - 1n)
    expect(() => parseSequence('0x1ffffffffffffffff')).toThrow(expect.objectContaining({ code: 'UNDECODABLE' }))
  })
})

/** No line tells of errors that did not occur. */
function withoutErrors(status: NodeStatus): NodeStatus {
  const { xfrmErrors: _none, ...rest } = status
  return rest
}
