import type { ContainerSpec, PodSpec } from './model.ts'

/** A pod as PodSandboxConfig. Containers have their own process namespace and share the others, which is kubelet's default. */
export function podMessage(pod: PodSpec, cgroupParent: string): object {
  const { name, uid, namespace = 'default', attempt = 0 } = pod
  return {
    metadata: { name, uid, namespace, attempt },
    hostname: pod.hostNetwork === true ? '' : (pod.hostname ?? name),
    dnsConfig: pod.dns,
    portMappings: pod.portMappings ?? [],
    labels: {
      'io.kubernetes.pod.name': name,
      'io.kubernetes.pod.namespace': namespace,
      'io.kubernetes.pod.uid': uid,
    },
    annotations: pod.annotations ?? {},
    linux: { cgroupParent, securityContext: { namespaceOptions: namespaces(pod.hostNetwork === true) } },
  }
}

/** A container as ContainerConfig. */
export function containerMessage(container: ContainerSpec): object {
  return {
    metadata: { name: container.name, attempt: 0 },
    image: { image: container.image },
    command: container.command,
    linux: { securityContext: { capabilities: { addCapabilities: ['NET_RAW', 'NET_ADMIN'] }, namespaceOptions: namespaces(false) } },
  }
}

function namespaces(hostNetwork: boolean): object {
  return { network: hostNetwork ? 'NODE' : 'POD', pid: 'CONTAINER', ipc: 'POD' }
}
