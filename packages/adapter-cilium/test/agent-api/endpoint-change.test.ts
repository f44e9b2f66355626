import { describe, expect, it } from 'vitest'
import { serves } from '../../src/agent-api/endpoint-change.ts'
import type { CiliumEndpoint } from '../../src/index.ts'

const endpoint = (state: string, name: string, index: number): CiliumEndpoint => ({
  id: 1,
  status: { state, networking: { 'interface-name': name, 'interface-index': index } },
})
const device = { name: 'lxc1', index: 7, mac: '02:00:00:00:00:01' }

describe('an endpoint serves its attachment', () => {
  it.each([
    ['over the device that there is', endpoint('ready', 'lxc1', 7), device, true],
    ['also where the agent does not tell the index', endpoint('ready', 'lxc1', 0), device, true],
    ['not over a device of another name, whatever its index', endpoint('ready', 'port1', 7), device, false],
    ['not over one that was made anew', endpoint('ready', 'lxc1', 6), device, false],
    ['not without a device', endpoint('ready', 'lxc1', 7), undefined, false],
    ['not when it is on its way out', endpoint('disconnecting', 'lxc1', 7), device, false],
  ] as const)('%s', (_title, made, end, expected) => {
    expect(serves(made, end)).toBe(expected)
  })
})
