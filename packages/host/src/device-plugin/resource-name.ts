import { z } from 'zod'

const LABEL = '[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?'
const DOMAIN = new RegExp(`^${LABEL}(\\.${LABEL})*$`)
const NAME = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/

/** 253 of a domain, less `requests.`, which a ResourceQuota puts in front. */
const LONGEST_DOMAIN = 244

/**
 * An extended resource of Kubernetes: `domain/name`, where the domain is not Kubernetes' own.
 *
 * @see https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#extended-resources
 */
export const resourceName: z.ZodType<string> = z.string('domain/name').refine(isResourceName, 'domain/name, such as example.com/vf')

function isResourceName(text: string): boolean {
  const [domain = '', name = '', ...more] = text.split('/')
  if (more.length > 0 || domain.length > LONGEST_DOMAIN) return false
  // Kubelet takes a name for Kubernetes' own wherever it holds this text, and for a quota where it starts with that one.
  if (text.includes('kubernetes.io/') || text.startsWith('requests.')) return false
  return DOMAIN.test(domain) && NAME.test(name)
}

/** Variable by which a container learns its devices: as SR-IOV device plugins name it, with all that a variable can't hold as "_". */
export function deviceVariable(resource: string): string {
  return `PCIDEVICE_${resource.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}`
}
