import { Gauge, type Registry } from 'prom-client'
import type { PluginPhase } from '../plugins/types.ts'

/** Registers the metrics of addresses that IPAM plugins have given on this host. @param counts - read at each scrape */
export function registerIpamMetrics(registry: Registry, counts: () => Readonly<Record<PluginPhase, number>>): void {
  const held: Gauge<'phase'> = new Gauge({
    name: 'cni_offload_host_ipam_leases',
    help: 'Attachments that have addresses of an IPAM plugin of this host, by phase; "ending" ones are still to be given back',
    labelNames: ['phase'],
    registers: [registry],
    collect: () => {
      for (const [phase, count] of Object.entries(counts())) held.set({ phase }, count)
    },
  })
}
