/**
 * The model for adapter authors: a Linux bridge on the DPU and address pools in SQLite, for both families or one or none.
 *
 * @packageDocumentation
 */
import { join } from 'node:path'
import { createLinuxNet } from '@cni-offload/linux'
import { definePlugin, type Plugin } from '@cni-offload/sdk'
import { firstPart, offsetOf, parseSubnet } from '@cni-offload/sdk/pool'
import { reportSetAside } from '@cni-offload/sdk/sqlite'
import { HelloAdapter, type HelloPool } from './adapter.ts'
import { Attachments } from './attachments.ts'
import { helloOptions } from './options.ts'

export { HELLO_STEPS, type HelloStep } from './steps.ts'
export type { HelloOptions, HelloOptionsInput, PoolOptions } from './options.ts'

/** The plugin: `createAgent({ adapter: hello({ pools: { ipv4: { subnet: '10.88.0.0/16' } } }), … })`. */
export const hello: Plugin<'adapter', typeof helloOptions> = definePlugin({
  kind: 'adapter',
  name: 'hello',
  specVersion: 'v1',
  options: helloOptions,
  create({ clock, log, stateDir }, options) {
    const pools = options.pools.map((pool): HelloPool => {
      const subnet = parseSubnet(pool.subnet)
      const gatewayOffset = pool.gateway === undefined ? subnet.first : offsetOf(subnet, pool.gateway)
      return { name: pool.subnet, subnet: pool.size === undefined ? subnet : firstPart(subnet, gatewayOffset, pool.size), gatewayOffset }
    })
    const attachments = new Attachments(join(stateDir, 'hello.db'), pools, clock)
    reportSetAside(attachments.setAside, log)
    return new HelloAdapter(createLinuxNet(), attachments, pools, options)
  },
})
