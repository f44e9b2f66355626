import type { Route } from '@cni-offload/sdk'
import { OFF_LINK_GATEWAY, type Shape, type Subnets, subnetsOf } from './cases.ts'

/** Options with which the example adapter makes a shape on a node. */
export function helloOptions(shape: Shape, node: number, bridge: string): object {
  const of = subnetsOf(shape, node)
  const pools = (list: Subnets['v4']): object[] => list.map(({ subnet, gateway }) => ({ subnet, gateway }))
  return {
    bridge,
    mtu: shape.mtu,
    pools: { ipv4: pools(of.v4), ipv6: pools(of.v6) },
    routes: shape.routes(of),
    ...(shape.dns === undefined ? {} : { dns: shape.dns }),
  }
}

const isSimple = ({ dst: _dst, gw, ...numbers }: Route): boolean => gw !== undefined && Object.keys(numbers).length === 0

/** A route as words of `ip route add`. */
function words({ dst, gw, table, priority, mtu, advmss, scope }: Route): string {
  const named = Object.entries({ via: gw, table, metric: priority, mtu, advmss, scope }).filter(([, value]) => value !== undefined)
  return [dst, ...named.flat()].join(' ')
}

/** The list of Debian's plugins that makes a shape on a node. What they cannot say is said with `ip`, as daemons of CNIs do. */
export function pluginList(shape: Shape, node: number, dataDir: string): object {
  const of = subnetsOf(shape, node)
  const routes = shape.routes(of)
  const bridge = `br${of.v4[0]?.begin.split('.')[1] ?? shape.id.slice(0, 9)}`
  const ranges = [...of.v4, ...of.v6].map(({ subnet, gateway }) => [{ subnet, gateway }])
  const hostLocal = { type: 'host-local', dataDir, ranges }
  const common = { mtu: shape.mtu, ...(shape.dns === undefined ? {} : { dns: shape.dns }) }
  // A stock bridge takes no second IPv4 address, and without an address of its own a new MAC with each pod.
  const prepared = of.v4.length > 1 || ranges.length === 0 || shape.by === 'host-routes'
  const toBridge = { type: 'bridge', bridge, isGateway: !prepared, ...common }
  const simple = routes.filter(isSimple)
  const special = routes
    .filter((route) => !isSimple(route))
    .map((route) => `-${route.dst.includes(':') ? 6 : 4} route add ${words(route)} dev $IF`)
  const defaults = simple.filter(({ dst }) => dst.endsWith('/0'))
  const commands = { type: 'ip-commands' }
  const plugins = {
    bridge: [
      { ...toBridge, ipam: ranges.length === 0 ? {} : { ...hostLocal, routes: simple } },
      ...(special.length === 0 ? [] : [{ ...commands, pod: special }]),
    ],
    ptp: [{ type: 'ptp', ...common, ipam: { ...hostLocal, routes: defaults } }],
    static: [{ ...toBridge, ipam: { type: 'static', routes: simple } }],
    'host-routes': [
      { ...toBridge, ipam: {} },
      {
        ...commands,
        ipam: hostLocal,
        pod: [
          '-4 addr add $4/32 dev $IF',
          '-6 addr add $6/128 dev $IF nodad',
          `-4 route add ${OFF_LINK_GATEWAY} dev $IF scope link`,
          `-4 route add default via ${OFF_LINK_GATEWAY} dev $IF`,
          `-6 route add ${of.v6[0]?.gateway} dev $IF`,
          `-6 route add default via ${of.v6[0]?.gateway} dev $IF`,
        ],
        dpu: [
          `-4 addr replace ${OFF_LINK_GATEWAY}/32 dev ${bridge}`,
          `-6 addr replace ${of.v6[0]?.gateway}/128 dev ${bridge} nodad`,
          `-4 route replace $4/32 dev ${bridge}`,
          `-6 route replace $6/128 dev ${bridge}`,
        ],
      },
    ],
  }
  const own = shape.by === 'host-routes' ? [] : [...of.v4, ...of.v6]
  const made = [
    `? link add ${bridge} address 02:00:00:00:00:01 type bridge`,
    `link set ${bridge} up`,
    ...own.map(({ gateway }) => `addr replace ${gateway}/${gateway.includes(':') ? 64 : 24} dev ${bridge}`),
  ]
  const list = [...(prepared ? [{ ...commands, dpu: made }] : []), ...plugins[shape.by ?? 'bridge']]
  // Debian's bridge asks an IPAM plugin at CHECK even where there is none.
  return { cniVersion: '1.0.0', name: shape.id, disableCheck: ranges.length === 0 || shape.by === 'host-routes', plugins: list }
}
