import { describe, expect, test } from 'vitest'
import { hasPrefixRoute, inPrefix, routesToMake } from '../../src/index.ts'

const ips = [{ address: '10.0.0.2/24' }, { address: 'fd00::2/64' }]

describe('the routes that have to be made', () => {
  test('are on-link ones first; those to prefixes of addresses are the kernel’s work', () => {
    const routes = [{ dst: '0.0.0.0/0', gw: '10.0.0.1' }, { dst: '10.0.0.0/24' }, { dst: '169.254.1.1/32', scope: 253 }]
    expect(routesToMake({ ips, routes })).toEqual([{ dst: '169.254.1.1/32' }, { dst: '0.0.0.0/0', gw: '10.0.0.1' }])
    const metric = { dst: '10.0.0.0/24', priority: 5 }
    expect(routesToMake({ ips, routes: [metric] }), 'another metric is another route').toEqual([metric])
  })

  test('have one for each gateway that is nowhere on the link', () => {
    const off = [{ address: '192.0.2.2/32' }, { address: 'fd00::2/128' }]
    const routes = [
      { dst: '0.0.0.0/0', gw: '169.254.1.1' },
      { dst: '198.51.100.0/24', gw: '169.254.1.1', table: 100 },
      { dst: '::/0', gw: 'fd00::1' },
      { dst: '2001:db8::/32', gw: 'fe80::1' },
    ]
    expect(routesToMake({ ips: off, routes })).toEqual([{ dst: '169.254.1.1/32' }, { dst: 'fd00::1/128' }, ...routes])
  })

  test('take a gateway behind another gateway for one that is not on the link', () => {
    const routes = [
      { dst: '10.0.0.0/25', gw: '10.0.0.254' },
      { dst: '192.0.2.0/24', gw: '10.0.0.1' },
    ]
    expect(routesToMake({ ips, routes })).toEqual([{ dst: '10.0.0.1/32' }, ...routes])
    const both = [{ dst: '::/0' }, { dst: '::/0', gw: 'fd00::1', priority: 1 }, { dst: '2001:db8::/32', gw: 'fd09::1' }]
    expect(routesToMake({ ips, routes: both })).toEqual([both[0], { dst: 'fd09::1/128' }, both[1], both[2]])
  })

  test('are one for each destination, table and metric: the first', () => {
    const routes = [
      { dst: '0.0.0.0/0', gw: '10.0.0.1' },
      { dst: '0.0.0.0/0', gw: '10.0.0.9', table: 254, priority: 0 },
      { dst: '0.0.0.0/0', gw: '10.0.0.9', priority: 5 },
    ]
    expect(routesToMake({ ips, routes })).toEqual([routes[0], routes[2]])
  })

  test.each([
    ['through a gateway', { dst: '10.0.0.0/24', gw: '10.0.0.1' }, '10.0.0.2/24', false],
    ['with an MTU', { dst: 'fd00::/64', mtu: 1400 }, 'fd00::2/64', false],
    ['that is nothing but direct', { dst: '10.0.0.9/24' }, '10.0.0.2/24', true],
    ['in another table', { dst: '10.0.0.0/24', gw: '10.0.0.1', table: 100 }, '10.0.0.2/24', true],
    ['of another metric', { dst: '10.0.0.0/24', gw: '10.0.0.1', priority: 10 }, '10.0.0.2/24', true],
    ['of the kernel’s own metric', { dst: 'fd00::/64', gw: 'fd00::1', priority: 256 }, 'fd00::2/64', false],
  ])('to a prefix %s: whether the kernel makes its own', (_how, route, address, made) => {
    expect(hasPrefixRoute({ routes: [route] }, address)).toBe(made)
  })

  test('to a prefix behind a gateway of that prefix make the gateway reachable by itself', () => {
    const routes = [{ dst: '10.0.0.0/24', gw: '10.0.0.1' }]
    expect(routesToMake({ ips, routes })).toEqual([{ dst: '10.0.0.1/32' }, ...routes])
  })
})

test.each([
  ['10.0.0.0/8', '10.255.0.1', true],
  ['10.0.0.7/8', '11.0.0.0', false],
  ['0.0.0.0/0', '::', false],
  ['::/0', '10.0.0.1', false],
  ['fe80::/10', 'febf::1', true],
  ['fd00::1/128', 'FD00::1', true],
])('%s has %s: %s', (prefix, address, yes) => {
  expect(inPrefix(prefix, address)).toBe(yes)
})
