import { decodeResult } from '@cni-offload/sdk/cni'
import { z } from 'zod'
import { AgentFailure } from './agent-client.ts'
import { CniFailure, connect, deleteLink, type PluginCall } from './call.ts'

const endpointHealth = z.object({ overallHealth: z.string() })

const healthy = z.object({ cilium: z.object({ state: z.string(), msg: z.string().default('') }) })

/** Deletes all endpoints of the sandbox, and the interface. */
export async function del({ env, agent, net }: PluginCall): Promise<void> {
  try {
    await connect(() => agent.call({ method: 'DELETE', path: '/endpoint', body: { 'container-id': env.containerId } }))
  } catch (error) {
    if (!(error instanceof AgentFailure) || (error.status !== 404 && error.status !== 400)) throw error
  }
  if (env.netns !== '') await deleteLink(net, env.netns, env.ifName)
}

/** Asks the agent for the endpoint's health, and looks for what ADD has made. */
export async function check({ env, agent, net, conf, version }: PluginCall): Promise<void> {
  const id = `cni-attachment-id:${env.containerId}:${env.ifName}`
  const path = `/endpoint/${id}/healthz`
  const { overallHealth } = await connect(() => agent.ask({ method: 'GET', path }, endpointHealth)).catch((error: unknown) => {
    if (error instanceof AgentFailure && error.status === undefined)
      throw new CniFailure(11, `unable to connect to Cilium agent: ${error.message}`)
    throw new CniFailure(100, `failed to retrieve container health: ${error instanceof Error ? error.message : String(error)}`)
  })
  if (overallHealth === 'Failure') throw new CniFailure(101, 'container is unhealthy in agent')
  const { interfaces, ips } = decodeResult(conf['prevResult'], version)
  const own = interfaces.find(({ sandbox }) => (sandbox ?? '') !== '')
  const present = await net.addresses(env.netns, env.ifName).catch((): string[] => [])
  if (own !== undefined && (await net.link(env.netns, own.name)) === undefined)
    throw new CniFailure(999, `cannot find container link ${own.name}`)
  const missing = ips.find(({ address }) => !present.includes(address))
  if (missing !== undefined) throw new CniFailure(999, `expected IP ${missing.address} not found on interface ${env.ifName}`)
}

/** Whether the agent could serve an ADD. */
export async function status({ agent }: PluginCall): Promise<void> {
  const what = { method: 'GET', path: '/healthz', headers: { brief: 'true' } }
  const { cilium } = await connect(() => agent.ask(what, healthy)).catch(unavailable)
  if (cilium.state !== 'Ok') throw new CniFailure(50, `cilium agent is not ready: ${cilium.msg}`)
}

const unavailable = (error: unknown): never => {
  throw new CniFailure(50, error instanceof Error ? error.message : String(error))
}
