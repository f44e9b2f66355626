import { connect } from 'node:net'
import { once } from 'node:events'
import { parseAddress } from '@cni-offload/protocol'
import { OffloadError } from '@cni-offload/sdk'
import { type Check, fail, type Finding, ok } from '../check.ts'

/** Whether the agent listens where its configuration says. Only its host may talk to it: what comes of that is told by a doctor there. */
export function listenCheck(listen: string, after: readonly string[]): Check {
  return { id: 'agent.listen', title: 'the agent listens', after, run: async (signal) => await listens(listen, signal) }
}

async function listens(listen: string, signal: AbortSignal): Promise<Finding> {
  // An address that stands for all of the machine's is also one to connect to: Linux takes its loopback.
  const connection = connect({ ...parseAddress(listen).connect, signal })
  try {
    await once(connection, 'connect', { signal })
    return ok(listen)
  } catch (error) {
    if (signal.aborted) throw error
    return fail(listen, OffloadError.from(error).message, 'Start offload-agent, and look at its log for why it does not listen there.')
  } finally {
    connection.destroy()
  }
}
