import { AgentFailure } from './agent-client.ts'
import { CniFailure, connect, type PluginCall } from './call.ts'
import { listIn, objectIn, textIn } from './fields.ts'
import { inPodIfThere } from './network.ts'

/** Deletes all endpoints of the sandbox, and the interface. */
export async function del({ env, agent }: PluginCall): Promise<void> {
  try {
    await connect(() => agent.call({ method: 'DELETE', path: '/endpoint', body: { 'container-id': env.containerId } }))
  } catch (error) {
    if (!(error instanceof AgentFailure) || (error.status !== 404 && error.status !== 400)) throw error
  }
  if (env.netns !== '') inPodIfThere(env.netns, `link del dev ${env.ifName}`)
}

/** Asks the agent for the endpoint's health, and looks for what ADD has made. */
export async function check({ env, agent, conf }: PluginCall): Promise<void> {
  const path = `/endpoint/cni-attachment-id:${env.containerId}:${env.ifName}/healthz`
  const health = await connect(() => agent.ask({ method: 'GET', path })).catch((error: unknown) => {
    if (error instanceof AgentFailure && error.status === undefined)
      throw new CniFailure(11, `unable to connect to Cilium agent: ${error.message}`)
    throw new CniFailure(100, `failed to retrieve container health: ${error instanceof Error ? error.message : String(error)}`)
  })
  if (textIn(health, 'overallHealth') === 'Failure') throw new CniFailure(101, 'container is unhealthy in agent')
  const before = objectIn(conf, 'prevResult')
  const own = listIn(before, 'interfaces').find((one) => textIn(one, 'sandbox') !== '')
  const present = inPodIfThere(env.netns, `addr show dev ${env.ifName}`)
  const name = own === undefined ? env.ifName : textIn(own, 'name')
  if ((name === env.ifName ? present : inPodIfThere(env.netns, `link show dev ${name}`)) === undefined)
    throw new CniFailure(999, `cannot find container link ${name}`)
  const addresses = Array.from(present?.matchAll(/ inet6? (?<address>\S+)/g) ?? [], ({ groups }) => groups?.['address'])
  const missing = listIn(before, 'ips').find((one) => !addresses.includes(textIn(one, 'address')))
  if (missing !== undefined) throw new CniFailure(999, `expected IP ${textIn(missing, 'address')} not found on interface ${env.ifName}`)
}

/** Whether the agent could serve an ADD. */
export async function status({ agent }: PluginCall): Promise<void> {
  const what = { method: 'GET', path: '/healthz', headers: { brief: 'true' } }
  const health = objectIn(await connect(() => agent.ask(what)).catch(unavailable), 'cilium')
  if (textIn(health, 'state') !== 'Ok') throw new CniFailure(50, `cilium agent is not ready: ${textIn(health, 'msg')}`)
}

const unavailable = (error: unknown): never => {
  throw new CniFailure(50, error instanceof Error ? error.message : String(error))
}
