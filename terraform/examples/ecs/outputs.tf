output "task_definition" {
  description = "For aws ecs register-task-definition --cli-input-json."
  value = jsonencode({
    family                  = var.name
    requiresCompatibilities = ["FARGATE"]
    networkMode             = "awsvpc"
    cpu                     = "256"
    memory                  = "512"
    runtimePlatform         = { cpuArchitecture = "ARM64", operatingSystemFamily = "LINUX" }
    taskRoleArn             = aws_iam_role.task.arn
    executionRoleArn        = aws_iam_role.execution.arn
    containerDefinitions = [{
      name      = "worker"
      image     = var.image
      essential = true
      environment = [
        for name, value in module.s3dict.environment_variables[local.environment] : { name = name, value = value }
      ]
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.task.name
          awslogs-region        = module.s3dict.region
          awslogs-stream-prefix = "worker"
        }
      }
    }]
  })
}
