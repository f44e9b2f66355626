import { Counter, Gauge, type Registry } from 'prom-client'

/** How many devices a resource has. */
export interface DeviceCount {
  /** Name of the resource. */
  readonly resource: string
  /** Devices that pods can be given. */
  readonly healthy: number
  /** Devices that they can't. */
  readonly unhealthy: number
}

/** Metrics of what is advertised to kubelet. */
export class DevicePluginMetrics {
  readonly #watched: Gauge<'resource'>
  readonly #registrations: Counter<'resource' | 'outcome'>
  readonly #allocations: Counter<'resource' | 'outcome'>

  /** @param counts - read at each scrape */
  constructor(registry: Registry, counts: () => readonly DeviceCount[]) {
    const registers = [registry]
    const devices: Gauge<'resource' | 'health'> = new Gauge({
      name: 'cni_offload_host_device_plugin_devices',
      help: 'Devices advertised to kubelet by resource and health',
      labelNames: ['resource', 'health'],
      registers,
      collect: () => {
        for (const { resource, healthy, unhealthy } of counts()) {
          devices.set({ resource, health: 'healthy' }, healthy)
          devices.set({ resource, health: 'unhealthy' }, unhealthy)
        }
      },
    })
    this.#watched = new Gauge({
      name: 'cni_offload_host_device_plugin_watched',
      help: '1 while kubelet watches the devices of the resource',
      labelNames: ['resource'],
      registers,
    })
    this.#registrations = new Counter({
      name: 'cni_offload_host_device_plugin_registrations_total',
      help: 'Registrations with kubelet by outcome (OK, or the code of the error)',
      labelNames: ['resource', 'outcome'],
      registers,
    })
    this.#allocations = new Counter({
      name: 'cni_offload_host_device_plugin_allocated_devices_total',
      help: 'Devices that kubelet has given to containers, by outcome (given, refused)',
      labelNames: ['resource', 'outcome'],
      registers,
    })
  }

  /** Notes whether kubelet watches a resource. */
  watched(resource: string, watched: boolean): void {
    this.#watched.set({ resource }, watched ? 1 : 0)
  }

  /** Notes a registration. @param outcome - OK or the code of the error */
  registered(resource: string, outcome: string): void {
    this.#registrations.inc({ resource, outcome })
  }

  /** Notes devices that were given to containers, or not. */
  allocated(resource: string, outcome: 'given' | 'refused', devices: number): void {
    this.#allocations.inc({ resource, outcome }, devices)
  }
}
