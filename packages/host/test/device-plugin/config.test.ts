import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseWith } from '@cni-offload/sdk'
import { devicePluginConfig } from '../../src/device-plugin/config.ts'
import { socketName } from '../../src/device-plugin/endpoint.ts'
import { deviceVariable, resourceName } from '../../src/device-plugin/resource-name.ts'
import { indexRanges, resourceOf, selects } from '../../src/device-plugin/selection.ts'
import { vfsOf } from '../support/row.ts'

const parse = (input: unknown): unknown => parseWith(devicePluginConfig, input, 'devicePlugin', 'INVALID_CONFIG')

describe('names of resources', () => {
  it.each(['example.com/vf', 'a.b-c.example/VF_1.x', 'x/y', `${'a.'.repeat(120)}bcd/x`, `example.com/${'n'.repeat(63)}`])(
    'accepts %s',
    (name) => expect(resourceName.safeParse(name).success).toBe(true),
  )

  it.each([
    'vf',
    'example.com/',
    '/vf',
    'example.com/vf/0',
    'Example.com/vf',
    'example..com/vf',
    '-example.com/vf',
    'example.com/-vf',
    'example.com/v f',
    'kubernetes.io/vf',
    'node.kubernetes.io/vf',
    'requests.example.com/vf',
    `example.com/${'n'.repeat(64)}`,
    `${'a.'.repeat(122)}b/x`,
    'example.com/vf\n',
    '',
    7,
  ])('refuses %j', (name) => expect(resourceName.safeParse(name).success).toBe(false))

  it('become variables that every shell can hold', () => {
    expect(deviceVariable('example.com/vf_net-1.a')).toBe('PCIDEVICE_EXAMPLE_COM_VF_NET_1_A')
  })

  it('become socket names that are short, and different where the names are', () => {
    expect(socketName('example.com/vf')).toMatch(/^offload-vf-[0-9a-f]{8}\.sock$/)
    expect(socketName('example.com/vf')).not.toBe(socketName('example.org/vf'))
    expect(socketName(`example.com/${'n'.repeat(63)}`).length).toBeLessThanOrEqual(44)
  })
})

describe('devicePlugin', () => {
  it('accepts what the guide shows', () => {
    const config = {
      resources: [
        { name: 'example.com/fast', allocation: 'exact', select: { devices: ['pf0'], vfs: '0-3,8', numaNodes: [0] } },
        { name: 'example.com/one', allocation: 'exact', select: { pciAddresses: ['0000:01:00.7'] } },
        { name: 'example.com/vf' },
      ],
      dir: '/var/lib/kubelet/device-plugins',
      agentGraceMs: 'never',
    }
    expect(parse(config)).toEqual(config)
  })

  it.each([
    [{ resources: [] }, 'resources'],
    [{ resources: [{ name: 'vf' }] }, 'resources.0.name = "vf": domain/name'],
    [{ resources: [{ name: 'a.b/c' }, { name: 'a.b/c', allocation: 'exact' }] }, 'resources.1.name = "a.b/c": is there twice'],
    [{ resources: [{ name: 'a.b/c' }, { name: 'a.b/d' }] }, 'only one resource can be counted, and "a.b/c" is'],
    [{ resources: [{ name: 'a.b/c', select: { vfs: '3-1' } }] }, 'resources.0.select.vfs = "3-1": numbers and ranges'],
    [{ resources: [{ name: 'a.b/c', select: { pciAddresses: ['1:0.0'] } }] }, 'a PCI address'],
    [{ resources: [{ name: 'a.b/c', sel: {} }] }, 'sel'],
    [{ resources: [{ name: 'a.b/c' }], dir: 'relative' }, 'dir = "relative": an absolute path'],
    [{ resources: [{ name: 'a.b/c' }], dir: `/${'x'.repeat(60)}` }, 'at most 55 bytes'],
    [{ resources: [{ name: 'a.b/c' }], agentGraceMs: -1 }, 'agentGraceMs = -1'],
  ])('refuses %j', (input, message) => {
    expect(() => parse(input)).toThrow(expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringContaining(message) }))
  })
})

describe('selection', () => {
  const [first] = vfsOf(1)

  it('takes ranges apart, and nothing else', () => {
    expect(indexRanges('0-3, 8')).toEqual([
      [0, 3],
      [8, 8],
    ])
    for (const text of ['', '-', '1-', 'a', '1,,2', '5-4', '1;2', '0x1']) expect(indexRanges(text)).toBeUndefined()
  })

  it('gives a VF exactly as its ranges say', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(50), fc.nat(10)), { minLength: 1, maxLength: 5 }), fc.nat(70), (parts, index) => {
        const text = parts.map(([from, length]) => (length === 0 ? `${from}` : `${from}-${from + length}`)).join(',')
        const inside = parts.some(([from, length]) => from <= index && index <= from + length)
        expect(selects({ vfs: text }, { id: { device: 'd', index } })).toBe(inside)
      }),
    )
  })

  it('needs all fields to hold, and knows nothing of what is unknown', () => {
    const vf = { ...first!, numaNode: 1 }
    expect(selects({}, first!)).toBe(true)
    expect(selects({ devices: ['dev0'], vfs: '0', numaNodes: [1], pciAddresses: ['0000:01:00.0'] }, vf)).toBe(true)
    expect(selects({ devices: ['dev1'], vfs: '0' }, vf)).toBe(false)
    expect(selects({ numaNodes: [0] }, vf)).toBe(false)
    expect(selects({ numaNodes: [1] }, first!)).toBe(false)
    expect(selects({ pciAddresses: ['0000:01:00.0'] }, { id: vf.id })).toBe(false)
  })

  it('gives each VF to one resource at most: the first that wants it', () => {
    const selector = fc.record(
      { vfs: fc.nat(5).map(String), devices: fc.constantFrom(['dev0'], ['dev1'], ['dev0', 'dev1']) },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(fc.array(selector, { minLength: 1, maxLength: 4 }), (selects_) => {
        const resources = selects_.map((select, index) => ({ name: `a.b/r${index}`, select }))
        for (const vf of [...vfsOf(6), ...vfsOf(6, 'dev1')])
          expect(resourceOf(resources, vf)).toBe(resources.find(({ select }) => selects(select, vf)))
      }),
    )
  })
})
