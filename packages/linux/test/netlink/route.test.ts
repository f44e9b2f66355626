import { describe, expect, test } from 'vitest'
import { normalizeRoute } from '../../src/netlink/route.ts'

describe('the normal form of a route', () => {
  test('clears host bits and leaves out the numbers that the kernel would choose', () => {
    expect(normalizeRoute({ dst: '10.1.2.3/8', gw: '10.0.0.1', priority: 0, table: 254, scope: 0 })).toEqual({
      dst: '10.0.0.0/8',
      gw: '10.0.0.1',
    })
    expect(normalizeRoute({ dst: '10.0.0.1/32', scope: 253 })).toEqual({ dst: '10.0.0.1/32' })
    expect(normalizeRoute({ dst: '::0/0', gw: 'FD00:0::1', priority: 1024, scope: 253 })).toEqual({ dst: '::/0', gw: 'fd00::1' })
  })

  test('keeps every number that says something', () => {
    const route = { dst: '10.0.0.0/24', mtu: 1400, advmss: 1360, priority: 5, table: 100, scope: 254 }
    expect(normalizeRoute(route)).toEqual(route)
    expect(normalizeRoute({ dst: '10.0.0.0/24', scope: 0 })).toEqual({ dst: '10.0.0.0/24', scope: 0 })
  })

  test('leaves out zeros, which say nothing, and cuts what the kernel cuts', () => {
    expect(normalizeRoute({ dst: '10.0.0.0/24', mtu: 0, advmss: 0, table: 0 })).toEqual({ dst: '10.0.0.0/24' })
    expect(normalizeRoute({ dst: '10.0.0.0/24', mtu: 70_000, advmss: 70_000 })).toEqual({ dst: '10.0.0.0/24', mtu: 65_520, advmss: 65_495 })
  })

  test('is its own normal form', () => {
    const normal = normalizeRoute({ dst: '10.9.9.9/16', gw: '10.0.0.1', table: 7, scope: 0, priority: 0 })
    expect(normalizeRoute(normal)).toEqual(normal)
  })
})
